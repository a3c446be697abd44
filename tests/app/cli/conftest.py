from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.application import cli
from tests.bundles import write_tiny_bundle

Isoglot = Callable[..., Result]

SERVE = [sys.executable, "-c", "from app.cli import main; main()", "serve", "--port", "0"]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path, bundle):
    for name in list(os.environ):
        if name.startswith("ISOGLOT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ISOGLOT_BUNDLE", str(bundle))
    monkeypatch.setenv("ISOGLOT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ISOGLOT_ENCODER_THREADS", "1")


@pytest.fixture
def isoglot() -> Isoglot:
    """Runs the command line in this process."""

    def run(*arguments: object, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(cli, [str(a) for a in arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., Path]:
    """Writes JSON Lines; a string is written as it is."""

    def write(*entries: dict[str, object] | str, name: str = "passages.jsonl") -> Path:
        path = tmp_path / name
        text = (e if isinstance(e, str) else json.dumps(e, ensure_ascii=False) for e in entries)
        path.write_text("\n".join(text) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def service():
    """The URL of a service in another process, and that process."""
    with subprocess.Popen(SERVE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.match(r"Isoglot is ready: (\S+)", line):
                    yield found[1], process
                    break
            else:
                pytest.fail("the service ended before it was ready")
        finally:
            process.kill()


TIDES = {"id": "tides.en", "text": "the tides of the sea rise and fall", "language": "en"}
GEZEITEN = {"id": "tides.de", "text": "die gezeiten des meeres", "language": "de"}
WHEEL = {"id": "wheel.en", "text": "how do I repair the wheel of a bicycle", "language": "en"}
