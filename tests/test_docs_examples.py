"""Every example of these pages runs as it is printed, against a service on a free port."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from app.adapters.key_file import read_keys
from app.bootstrap import assemble
from app.cli.serve import address, listen
from app.core.access.keys import KeyDocument, dump_keys
from app.main import create_app
from app.settings import Settings
from tests.bundles import write_tiny_bundle
from tests.fakes import FAKE_ENCODER_SPEC, FakeEncoder, FakeLanguageIdentifier, InMemoryStore

ROOT = Path(__file__).parent.parent
PRINTED_URL = "http://127.0.0.1:8000"
SHIM = f'#!/bin/sh\nexec {sys.executable} -W ignore -c "from app.cli import main; main()" "$@"\n'


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    assert found
    return found


@contextmanager
def service_on_a_free_port(settings: Settings) -> Iterator[str]:
    @asynccontextmanager
    async def runtime(given, bundle, _metrics):
        parts = (FakeEncoder(), InMemoryStore(), FakeLanguageIdentifier())
        async with assemble(given, bundle, *parts) as opened:
            yield opened

    app = create_app(settings, runtime_factory=runtime)
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            deadline = time.monotonic() + 60
            while not app.state.api.readiness.is_ready and time.monotonic() < deadline:
                time.sleep(0.01)
            yield address(listener)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., object]:
    bundle = write_tiny_bundle(tmp_path / "bundle", spec=FAKE_ENCODER_SPEC)

    def start(**settings: object) -> object:
        return service_on_a_free_port(Settings.model_validate({"bundle": bundle, **settings}))

    return start


def run_shell(script: str, url: str, directory: Path) -> str:
    """Run a script with `isoglot` on the path; every line of it must succeed."""
    shim = directory / "bin" / "isoglot"
    shim.parent.mkdir()
    shim.write_text(SHIM)
    shim.chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if "ISOGLOT" not in name}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace(PRINTED_URL, url)],
        cwd=directory,
        env={**clean, "PATH": f"{shim.parent}:{clean['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_python(script: str, url: str) -> None:
    code = compile(script.replace(PRINTED_URL, url), "docs", "exec", dont_inherit=True)
    names: dict[str, Any] = {"__name__": "docs"}
    try:
        exec(code, names)
    finally:
        for client in {"service", "openai"} & names.keys():
            names[client].close()


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


@needs_curl
def test_the_examples_of_the_page_about_access(serve, tmp_path, monkeypatch):
    monkeypatch.setattr("app.adapters.key_file.LOOK_SECONDS", 0.0)
    key_file = tmp_path / "keys.json"
    key_file.write_text(dump_keys(KeyDocument()))
    with serve(key_file=key_file) as url:
        shown = run_shell("\n".join(blocks("access.md", "bash")), url, tmp_path)

    (left,) = read_keys(key_file).keys
    assert (left.tenant, left.scopes) == ("acme", ("ingest", "search"))
    assert '"id":"faq-1"' in shown
    assert "_tenant" not in shown


@needs_curl
def test_the_curl_examples_of_the_page_about_other_clients(serve, tmp_path):
    with serve() as url:
        shown = run_shell("\n".join(blocks("compatibility.md", "bash")), url, tmp_path)

    assert shown.count('"object":"embedding"') == 2
    assert '"text":"Hold the inner tube under water."' in shown


def test_the_python_examples_of_the_page_about_other_clients(serve, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other library
        pytest.importorskip("openai")
        with serve() as url:
            run_python("\n".join(blocks("compatibility.md", "python")), url)
    assert "32 dimensions, 5 tokens" in capsys.readouterr().out


@needs_curl
def test_the_examples_of_the_page_about_hybrid_retrieval(serve, tmp_path, capsys):
    with serve(hybrid=True) as url:
        shown = run_shell("\n".join(blocks("hybrid.md", "bash")), url, tmp_path)
        run_python("\n".join(blocks("hybrid.md", "python")), url)

    assert '"id":"parts-17","rank":1,' in shown
    assert '"lexical_rank":1' in shown
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("parts-")]
    assert [line.split()[0] for line in lines] == ["parts-17", "parts-18"]
    assert float(lines[0].split()[3]) > 0.0


def test_the_examples_of_the_page_about_the_client(serve, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other library
        pytest.importorskip("langchain_core")
        with serve() as url:
            run_python("\n".join(blocks("client.md", "python")), url)
    lines = capsys.readouterr().out.splitlines()
    shown = [line for line in lines if "[info" not in line]

    assert shown[0] == "2 new, 0 unchanged, 0 rejected"
    assert re.match(r"0\.\d\d en How to mend a flat tyre", shown[1])
    assert shown[3:5] == ["tyre", "bread"]
    assert shown[5].startswith("passage_not_found ")
    assert shown[6] == "Take the wheel off first."
