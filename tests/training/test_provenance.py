import subprocess
from importlib.metadata import version
from typing import Any

import pytest

from training.provenance import git_commit, package_versions

pytestmark = pytest.mark.training


def git(directory: Any, *arguments: Any) -> Any:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", directory, *identity, *arguments], check=True, capture_output=True)


def test_the_commit_is_named_and_changes_to_it_are_admitted(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "one")
    clean = git_commit(tmp_path)
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "file").write_text("two")
    assert git_commit(tmp_path) == f"{clean}+changes"


def test_a_directory_outside_a_repository_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit(tmp_path) is None


def test_versions_are_those_that_are_installed():
    assert package_versions()["torch"] == version("torch")
