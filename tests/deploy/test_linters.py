"""Files that other programs read are checked by the linters that know those programs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.deploy.dockerfile import ROOT

BIN = Path(sys.executable).parent
COMPOSE = ["docker-compose.yml", "docker-compose.cluster.yml"]


def tracked(*patterns: str) -> list[str]:
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    assert found
    return sorted(str(path.relative_to(ROOT)) for path in found)


def lint(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    program = [str(BIN / words[0]), *words[1:]]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words",
    [
        ["hadolint", "--ignore", "DL3059", "Dockerfile"],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", *COMPOSE],
        ["shellcheck", *tracked("deploy/**/*.sh")],
        [
            "yamllint",
            "--strict",
            *COMPOSE,
            *tracked("deploy/**/*.yml", "deploy/**/*.yaml", ".*.yml"),
        ],
    ],
    ids=["Dockerfile", "compose", "shell", "yaml"],
)
def test_the_linter_finds_nothing(words):
    found = lint(words)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_schema_of_compose_does_find_what_is_wrong(tmp_path):
    wrong = tmp_path / "compose.yml"
    wrong.write_text("services: {api: {image: x, mem_limit: [1]}}\n")
    found = lint(["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(wrong)])
    assert found.returncode == 1
