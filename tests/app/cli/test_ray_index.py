"""`isoglot index --ray` on a stand-in for Ray; `make check-ray` runs it on Ray itself."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest

from app.cli.ingest.file_ranges import FileRange
from app.cli.ingest.ray_workers import RemoteWriter, StoreWriter
from app.core.errors import InvalidPassageError
from app.core.types import EmbeddedPassage, Passage
from app.environment import load_settings
from tests.app.cli.conftest import GEZEITEN, TIDES, WHEEL
from tests.fake_ray import FakeRay, Handle, RayError


@pytest.fixture
def install(monkeypatch):
    """Puts a stand-in for Ray where the command finds it; arguments are its own."""

    made: list[FakeRay] = []

    def put(**options: Any) -> FakeRay:
        ray = FakeRay(**options)
        made.append(ray)
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.setitem(sys.modules, "ray.data", ray.data)
        return ray

    yield put
    for ray in made:
        ray.runner.close()


def test_the_workers_of_a_cluster_index_files(isoglot, lines, install):
    ray = install()
    files = [lines(TIDES, "{broken", WHEEL), lines(GEZEITEN, name="more.jsonl")]

    result = isoglot("index", *files, "--ray", "local", "--workers", 2)

    assert result.exit_code == 1
    assert f"{files[0]}:2: " in result.stderr
    assert "1 lines were rejected.\n3 passages stored." in result.stderr
    assert not ray.is_running
    assert ray.workers[0]["compute"].size == 2
    found = json.loads(isoglot("search", "the tides of the sea", "--json").stdout)
    assert {hit["id"] for hit in found["hits"]} == {"tides.en", "tides.de", "wheel.en"}

    again = isoglot("index", files[1], "--ray", "local")
    assert again.exit_code == 0


def test_what_the_workers_index_is_found_by_words_too(isoglot, lines, install, monkeypatch):
    monkeypatch.setenv("ISOGLOT_HYBRID", "true")
    install()
    assert isoglot("index", lines(TIDES, WHEEL), "--ray", "local").exit_code == 0

    result = isoglot("search", "bicycle", "--retrieval", "hybrid", "--json")

    assert result.exit_code == 0, result.stderr
    scores = {hit["id"]: hit["lexical_score"] for hit in json.loads(result.stdout)["hits"]}
    assert scores["wheel.en"] > 0
    assert scores["tides.en"] == 0


def test_files_without_lines_need_no_cluster(isoglot, lines):
    empty = lines("").with_name("empty.jsonl")
    empty.touch()
    result = isoglot("index", empty, "--ray", "nowhere:6379")
    assert result.exit_code == 0
    assert "0 passages stored." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-", "--ray", "local"], 2, "the workers read files"),
        (["missing.jsonl", "--ray", "local"], 2, "missing.jsonl is not a file"),
        (["FILE", "--ray", "local", "--url", "http://x"], 2, "choose one"),
        (["FILE", "--workers", "2"], 2, "--workers is for --ray"),
        (["FILE", "--ray", "local", "--workers", "3"], 2, "has 2 cores: too few for 3 workers"),
        (["FILE", "--ray", "10.0.0.1:6379"], 3, "no Ray cluster at 10.0.0.1:6379: nobody answers"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_indexed(
    isoglot, lines, install, arguments, code, message
):
    install()
    file = lines(TIDES)

    result = isoglot("index", *(str(file) if word == "FILE" else word for word in arguments))

    assert result.exit_code == code
    assert message in result.stderr


def test_without_ray_the_message_names_the_extra(isoglot, lines, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    result = isoglot("index", lines(TIDES), "--ray", "local")

    assert result.exit_code == 3
    assert "pip install '.[ray]'" in result.stderr


def test_a_collection_that_is_open_elsewhere_is_named(isoglot, lines, install):
    ray = install()
    settings = load_settings()
    writer = StoreWriter(settings)
    assert ray.runner.run(writer.open()) == ""

    result = isoglot("index", lines(TIDES), "--ray", "local")

    ray.runner.run(writer.close())
    assert result.exit_code == 3
    assert str(settings.collection_dir) in result.stderr


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (RayError("Traceback ...\nOSError: no bundle there"), 3, "OSError: no bundle there"),
        (KeyboardInterrupt(), 130, "0 passages are stored and stay. Run the same command again"),
    ],
)
def test_a_run_that_ends_early_says_why_and_lets_go_of_the_store(
    isoglot, lines, install, failure, code, message
):
    install(failure=failure)

    result = isoglot("index", lines(TIDES), "--ray", "local")

    assert result.exit_code == code
    assert message in result.stderr
    assert isoglot("search", "the sea").exit_code == 0


def test_a_file_that_goes_away_ends_the_run(isoglot, lines, install, monkeypatch):
    install()
    gone = [FileRange("/nowhere/passages.jsonl", 1, 0, 10)]
    monkeypatch.setattr("app.cli.ingest.ray_index.cut", lambda _: gone)

    result = isoglot("index", lines(TIDES), "--ray", "local")

    assert result.exit_code == 3
    assert "/nowhere/passages.jsonl cannot be read" in result.stderr


def test_every_call_of_a_store_goes_through_the_writer(install):
    settings = load_settings()
    ray = install()
    short = np.ones(1, np.float32)

    async def use() -> None:
        writer = StoreWriter(settings)
        assert await writer.open() == ""
        store = RemoteWriter(Handle(writer, ray.runner), settings.filter_fields)
        assert store.fields == {}
        assert await store.get(["a"]) == []
        assert await store.content_hashes(["a"]) == {}
        assert await store.scan(limit=1) == []
        assert await store.delete(["a"]) == 0
        with pytest.raises(InvalidPassageError) as caught:
            await store.upsert([EmbeddedPassage(Passage("a", "x"), short)], durable=False)
        assert caught.value.pointer.startswith("/0")
        await writer.close()

    ray.runner.run(use())
