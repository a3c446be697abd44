from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

COMMANDS = ("serve", "index", "search", "demo", "evaluate-demo")
HEAVY = ("numpy", "pydantic", "fastapi", "onnxruntime", "qdrant_edge", "httpx", "uvicorn")


def plain(text: str) -> str:
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╰─╮╯]", " ", text).split())


def test_help_names_every_command_and_the_exit_codes(isoglot):
    result = isoglot("--help")
    assert result.exit_code == 0
    for command in (*COMMANDS, "bundle"):
        assert command in result.stdout
    assert "3 the command could not start" in plain(result.stdout)


@pytest.mark.parametrize(
    "command", [*((c,) for c in COMMANDS), ("bundle", "inspect"), ("bundle", "verify")]
)
def test_help_of_every_command_has_an_example(isoglot, command):
    result = isoglot(*command, "--help")
    assert result.exit_code == 0
    assert f"isoglot {' '.join(command)}" in plain(result.stdout).partition("Example")[2]


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom app.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True
    )
    assert "HEAVY []" in run.stdout


def test_version_is_that_of_the_distribution(isoglot):
    try:
        expected = version("isoglot")
    except PackageNotFoundError:
        pytest.skip("the distribution is not installed")
    result = isoglot("--version")
    assert result.exit_code == 0
    assert result.stdout.strip() == f"isoglot {expected}"


@pytest.mark.parametrize("arguments", [["serve", "--prot", "1"], ["index"], ["nonsense"]])
def test_a_wrong_command_line_exits_with_2(isoglot, arguments):
    assert isoglot(*arguments).exit_code == 2


def test_a_misspelt_variable_exits_with_2_and_names_the_right_one(isoglot, monkeypatch):
    monkeypatch.setenv("ISOGLOT_PROT", "1")
    result = isoglot("search", "sea")
    assert result.exit_code == 2
    assert "ISOGLOT_PORT" in result.stderr


@pytest.mark.parametrize("command", [("index", "x.jsonl"), ("search", "sea")])
def test_url_excludes_the_options_of_a_local_collection(isoglot, tmp_path, command):
    result = isoglot(*command, "--url", "http://127.0.0.1:9", "--data-dir", tmp_path)
    assert result.exit_code == 2
    assert "leave out --data-dir" in result.stderr
