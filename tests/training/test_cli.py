import signal
import subprocess
import sys
from typing import Any

import pytest
from rich.progress import Progress
from typer.testing import CliRunner

from tests.training.conftest import STATIC_TOML
from training.cli import cli
from training.console import INSTALL

pytestmark = pytest.mark.training

SHORT_TOML = STATIC_TOML.replace("steps = 12", "steps = 3")


def invoke(*arguments: Any) -> Any:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(SHORT_TOML)
    return path


def test_files_become_an_export_with_three_commands(tmp_path, data_root, config_file):
    prepared, run, export = (tmp_path / name for name in ("prepared", "run", "export"))
    cache = tmp_path / "cache"
    for arguments in (
        ("prepare", config_file, "--data-root", data_root, "--out", prepared),
        ("train", config_file, "--prepared", prepared, "--out", run, "--cache", cache),
        ("export", run, "--prepared", prepared, "--out", export, "--weights", "float16"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 0, result.output
        assert str(arguments[arguments.index("--out") + 1]) in result.stdout
    assert (export / "encoder_spec.json").is_file()


def test_the_parity_is_printed(tmp_path, data_root, config_file):
    prepared, run = tmp_path / "prepared", tmp_path / "run"
    invoke("prepare", config_file, "--data-root", data_root, "--out", prepared)
    invoke("train", config_file, "--prepared", prepared, "--out", run)
    result = invoke(
        "export", run, "--prepared", prepared, "--out", tmp_path / "x", "--arithmetic", "int8"
    )
    assert result.stdout.startswith("int8: max_abs_diff_alone ")
    assert "float32" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["prepare", "absent.toml", "--out", "x"], 2, "Cannot read the configuration"),
        (["prepare", "{bad}", "--out", "x"], 2, "sede: unknown key"),
        (["prepare", "{good}", "--data-root", "{empty}", "--out", "x"], 2, "no such file"),
        (["train", "{good}", "--prepared", "{empty}", "--out", "x"], 3, "not a prepared directory"),
        (["export", "{empty}", "--prepared", "{empty}", "--out", "x"], 3, "prepared directory"),
    ],
)
def test_a_mistake_is_told_in_a_sentence_with_its_exit_code(
    tmp_path, config_file, arguments, code, message
):
    bad, empty = tmp_path / "bad.toml", tmp_path / "empty"
    bad.write_text("sede = 3\n" + SHORT_TOML)
    empty.mkdir()
    result = invoke(*(a.format(bad=bad, good=config_file, empty=empty) for a in arguments))
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_an_interrupted_training_ends_with_code_130_and_says_how_to_go_on(
    tmp_path, data_root, config_file, monkeypatch
):
    prepared, run = tmp_path / "prepared", tmp_path / "run"
    invoke("prepare", config_file, "--data-root", data_root, "--out", prepared)
    update = Progress.update

    def interrupting(self, task_id: Any, **fields: Any) -> Any:
        update(self, task_id, **fields)
        if fields.get("completed") == 1 and fields.get("total") == 3:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "update", interrupting)
        result = invoke("train", config_file, "--prepared", prepared, "--out", run)
    assert result.exit_code == 130
    assert "--resume" in result.stderr
    again = invoke("train", config_file, "--prepared", prepared, "--out", run, "--resume")
    assert again.exit_code == 0, again.output


def python(code: Any) -> Any:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_help_needs_nothing_of_the_training_extra():
    done = python(
        "import sys\n"
        "from training.cli import cli\n"
        "try:\n"
        "    cli(['train', '--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'datasets', 'onnxruntime'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    assert done.returncode == 0, done.stderr
    assert "--resume" in done.stdout


def test_a_missing_extra_is_answered_with_the_line_that_installs_it(config_file, prepared):
    done = python(
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from training.cli import cli\n"
        f"cli(['train', {str(config_file)!r}, '--prepared', {str(prepared.path)!r}, "
        "'--out', 'x'])\n"
    )
    assert done.returncode == 3
    assert INSTALL in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["prepare", "train", "export"])
def test_every_command_explains_itself_with_an_example(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"Example: isoglot-train {command}" in " ".join(result.stdout.split())
