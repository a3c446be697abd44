from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn

from app.bootstrap import open_runtime
from app.cli.serve import address, listen
from app.core.reindexing.copying import Reindexer
from app.main import create_app
from app.settings import Settings
from tests.app.cli.conftest import GEZEITEN, TIDES, WHEEL
from tests.bundles import tiny_spec, write_tiny_bundle


@pytest.fixture
def new(tmp_path):
    return write_tiny_bundle(tmp_path / "new", spec=tiny_spec(query_prefix="query: "), name="new")


@pytest.fixture
def stored(isoglot, lines):
    assert isoglot("index", lines(TIDES, GEZEITEN, WHEEL)).exit_code == 0


def answered_by(isoglot) -> tuple[str, set[str]]:
    result = isoglot("search", "the tides of the sea", "--json", "--limit", "100")
    assert result.exit_code == 0, result.stderr
    body = json.loads(result.stdout)
    return body["model"]["bundle"].partition("@")[0], {hit["id"] for hit in body["hits"]}


def test_passages_are_embedded_anew_and_back_again(isoglot, stored, new, bundle, lines):
    result = isoglot("reindex", "--bundle", new)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "3 passages are indexed with the new encoder (3 embedded, 0 removed)" in result.stderr
    assert f"ISOGLOT_BUNDLE={new}" in result.stderr
    assert answered_by(isoglot) == ("new", {"tides.en", "tides.de", "wheel.en"})

    added = {"id": "more", "text": "the water of the sea is cold", "language": "en"}
    assert isoglot("index", lines(added)).exit_code == 0
    result = isoglot("reindex", "--bundle", bundle)
    assert "4 passages are indexed with the new encoder (1 embedded, 0 removed)" in result.stderr
    assert answered_by(isoglot) == ("tiny", {"tides.en", "tides.de", "wheel.en", "more"})


def test_words_stay_indexed_in_the_new_collection(isoglot, new, lines, monkeypatch):
    monkeypatch.setenv("ISOGLOT_HYBRID", "true")
    assert isoglot("index", lines(TIDES, GEZEITEN, WHEEL)).exit_code == 0
    monkeypatch.delenv("ISOGLOT_HYBRID")
    assert isoglot("reindex", "--bundle", new).exit_code == 0
    result = isoglot("search", "gezeiten", "--retrieval", "hybrid", "--json")
    assert result.exit_code == 0, result.stderr
    scores = {hit["id"]: hit["lexical_score"] for hit in json.loads(result.stdout)["hits"]}
    assert scores["tides.de"] > 0
    assert scores["tides.en"] == scores["wheel.en"] == 0


def test_with_the_encoder_of_the_collection_there_is_nothing_to_do(isoglot, stored, bundle):
    result = isoglot("reindex", "--bundle", bundle)
    assert result.exit_code == 0
    assert "Nothing to do" in result.stderr


def test_an_empty_data_directory_needs_no_reindexing(isoglot, new, tmp_path):
    assert "Nothing to do" in isoglot("reindex", "--bundle", new).stderr
    assert not (tmp_path / "data").exists()


def test_after_an_interruption_the_collection_from_before_is_served(
    isoglot, stored, new, monkeypatch
):
    async def interrupted(self: Reindexer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Reindexer, "copy", interrupted)
    result = isoglot("reindex", "--bundle", new)
    assert result.exit_code == 130
    assert "run the same command again" in result.stderr
    assert answered_by(isoglot)[0] == "tiny"
    monkeypatch.undo()


def test_a_damaged_bundle_is_named(isoglot, stored, new):
    (new / "encoder" / "model.onnx").write_bytes(b"")
    result = isoglot("reindex", "--bundle", new)
    assert result.exit_code == 3
    assert "model.onnx" in result.stderr


def test_a_data_directory_in_use_sends_to_the_service(isoglot, stored, new, bundle, tmp_path):
    settings = Settings(bundle=bundle, data_dir=tmp_path / "data")
    opened, done = threading.Event(), threading.Event()

    async def hold() -> None:
        async with open_runtime(settings):
            opened.set()
            await asyncio.to_thread(done.wait)

    holder = threading.Thread(target=lambda: asyncio.run(hold()))
    holder.start()
    try:
        assert opened.wait(60)
        result = isoglot("reindex", "--bundle", new)
    finally:
        done.set()
        holder.join()
    assert result.exit_code == 3
    assert "--url" in result.stderr


def test_a_running_service_does_it_and_answers_all_along(isoglot, stored, new, bundle, tmp_path):
    settings = Settings(bundle=bundle, data_dir=tmp_path / "data")
    with running(settings) as url:
        result = isoglot("reindex", "--bundle", new, "--url", url)
        assert result.exit_code == 0, result.stderr
        assert "serves new@" in result.stderr
        assert "3 embedded anew" in result.stderr
        again = isoglot("reindex", "--bundle", new, "--url", url)
        assert again.exit_code == 3
        assert "answered 409" in again.stderr
    assert answered_by(isoglot)[0] == "new"


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """Serve on a free port, from a thread; yields the address."""
    app = create_app(settings)
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            for _ in range(3000):
                if app.state.api.readiness.is_ready:
                    break
                time.sleep(0.01)
            yield address(listener)
        finally:
            server.should_exit = True
            thread.join()
