"""Backups of what is not in the data directory: passages on a server, feedback in PostgreSQL.

The Qdrant server is the stand-in of ``tests.fake_qdrant``.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app.adapters.backups import stage
from app.adapters.feedback.sql import feedback_log
from app.bootstrap import open_shelf
from app.cli.backups import moving
from app.core.feedback.entries import Entry
from app.core.types import Served
from app.environment import load_settings
from tests.app.cli.conftest import GEZEITEN, TIDES, WHEEL, Isoglot
from tests.app.core.feedback.statements import entry
from tests.bundles import tiny_spec, write_tiny_bundle
from tests.fake_qdrant import fake_qdrant, served

IDS = {"tides.en", "tides.de", "wheel.en"}
POSTGRES = os.environ.get("ISOGLOT_TEST_POSTGRES")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server() -> Iterator[str]:
    with served(fake_qdrant(api_key="key")) as url:
        yield url


@pytest.fixture
def new_server() -> Iterator[str]:
    with served(fake_qdrant(api_key="key")) as url:
        yield url


def use(monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    """Have the next commands keep passages there; ``None`` for the data directory."""
    if url is None:
        monkeypatch.delenv("ISOGLOT_QDRANT_URL", raising=False)
        monkeypatch.delenv("ISOGLOT_QDRANT_API_KEY", raising=False)
    else:
        monkeypatch.setenv("ISOGLOT_QDRANT_URL", url)
        monkeypatch.setenv("ISOGLOT_QDRANT_API_KEY", "key")
        monkeypatch.setenv("ISOGLOT_QDRANT_TIMEOUT", "30")


def answers(isoglot: Isoglot) -> list[tuple[str, Any, Any]]:
    result = isoglot("search", "the tides of the sea", "--json")
    assert result.exit_code == 0, result.stderr
    hits = json.loads(result.stdout)["hits"]
    return [(h["id"], pytest.approx(h["score"]), pytest.approx(h["probability"])) for h in hits]


@pytest.fixture
def archive(isoglot, lines, tmp_path, data, server, monkeypatch) -> Path:
    """A backup of three passages on a server, and of a key."""
    keys = tmp_path / "keys.json"
    assert isoglot("keys", "create", "--scope", "search", "--key-file", keys).exit_code == 0
    monkeypatch.setenv("ISOGLOT_KEY_FILE", str(keys))
    use(monkeypatch, server)
    assert isoglot("index", lines(TIDES, GEZEITEN, WHEEL)).exit_code == 0
    path: Path = tmp_path / "all.tar.gz"
    result = isoglot("backup", path)
    assert result.exit_code == 0, result.stderr
    assert "3 passages" in result.stderr
    assert not (data / stage.STAGE).exists()
    keys.unlink()
    return path


@pytest.mark.parametrize("is_server", [True, False])
def test_a_backup_of_a_server_restores_to_either_store(
    isoglot, archive, data, new_server, tmp_path, monkeypatch, is_server
):
    before = answers(isoglot)
    shutil.rmtree(data)
    use(monkeypatch, new_server if is_server else None)

    result = isoglot("restore", archive)

    assert result.exit_code == 0, result.stderr
    assert "3 known queries are answered as they were" in result.stderr
    assert answers(isoglot) == before
    assert {hit[0] for hit in before} == IDS
    assert (data / "passages").exists() == (not is_server)
    assert (tmp_path / "keys.json").exists()


def test_a_backup_of_a_data_directory_restores_to_a_server(
    isoglot, lines, data, new_server, tmp_path, monkeypatch
):
    assert isoglot("index", lines(TIDES, GEZEITEN, WHEEL)).exit_code == 0
    new = write_tiny_bundle(tmp_path / "new", spec=tiny_spec(query_prefix="query: "), name="new")
    assert isoglot("reindex", "--bundle", new).exit_code == 0
    before = answers(isoglot)
    assert isoglot("backup", tmp_path / "b").exit_code == 0
    shutil.rmtree(data)
    use(monkeypatch, new_server)

    result = isoglot("restore", tmp_path / "b")

    assert result.exit_code == 0, result.stderr
    assert "3 known queries are answered as they were" in result.stderr
    assert answers(isoglot) == before
    assert not list(data.glob("passages*"))


def test_a_server_that_serves_the_collection_is_not_overwritten(isoglot, archive, data):
    shutil.rmtree(data, ignore_errors=True)
    result = isoglot("restore", archive)
    assert result.exit_code == 3
    assert "Drop that alias and its collection first" in result.stderr
    assert not data.exists()


def test_a_server_without_the_collection_is_told(isoglot, new_server, tmp_path, monkeypatch):
    use(monkeypatch, new_server)
    result = isoglot("backup", tmp_path / "b")
    assert result.exit_code == 3
    assert "serves no collection 'passages'" in result.stderr
    assert not (tmp_path / "b").exists()


def test_sending_that_was_killed_goes_on(isoglot, archive, data, new_server, monkeypatch):
    class Killed(BaseException):
        pass

    async def killed(*_: object) -> None:
        raise Killed

    shutil.rmtree(data, ignore_errors=True)
    use(monkeypatch, new_server)
    with monkeypatch.context() as patched:
        patched.setattr("app.adapters.qdrant.shelf.QdrantShelf.serve", killed)
        with pytest.raises(Killed):
            isoglot("restore", archive)
    assert "`isoglot restore` again" in isoglot("search", "sea").stderr
    result = isoglot("restore", archive)
    assert result.exit_code == 0, result.stderr
    assert "3 known queries are answered as they were" in result.stderr


def test_a_collection_that_holds_other_passages_too_is_not_served(
    isoglot, archive, data, lines, new_server, monkeypatch
):
    shutil.rmtree(data, ignore_errors=True)
    use(monkeypatch, new_server)

    async def without_alias(*_: object) -> None:
        return

    with monkeypatch.context() as patched:
        patched.setattr("app.adapters.qdrant.shelf.QdrantShelf.serve", without_alias)
        assert isoglot("index", lines({**TIDES, "id": "another"})).exit_code == 0
    shutil.rmtree(data, ignore_errors=True)
    result = isoglot("restore", archive)
    assert result.exit_code == 3
    assert "holds 4 passages now, not 3" in result.stderr
    assert asyncio.run(served_now()) is None


async def served_now() -> Served | None:
    shelf = open_shelf(load_settings(data_dir="elsewhere"))
    try:
        return await shelf.served()
    finally:
        await shelf.close()


def test_passages_that_lie_in_the_data_directory_from_before_are_left_out(
    isoglot, archive, data, lines, server, tmp_path, monkeypatch
):
    use(monkeypatch, None)
    assert isoglot("index", lines({**TIDES, "id": "old"})).exit_code == 0
    use(monkeypatch, server)
    result = isoglot("backup", tmp_path / "b")
    assert (result.exit_code, "3 passages" in result.stderr) == (0, True), result.stderr


async def logged(url: str | None, data_dir: Path, collection: str, *new: Entry) -> list[Entry]:
    """Add entries to a feedback log; returns all there are."""
    log = feedback_log(url, data_dir=data_dir, collection=collection)
    await log.open()
    try:
        await log.append(new)
        return [found for _, found in await log.read()]
    finally:
        await log.close()


def test_feedback_moves_between_logs_in_its_order_and_once(tmp_path):
    entries = [entry(passage_id=str(n)) for n in range(5)]
    asyncio.run(logged(None, tmp_path / "one", "c", *entries))

    async def copy() -> int:
        logs = [feedback_log(None, data_dir=tmp_path / d, collection="c") for d in ("one", "two")]
        return await moving.copy_feedback(*logs)

    assert [asyncio.run(copy()), asyncio.run(copy())] == [5, 5]
    assert asyncio.run(logged(None, tmp_path / "two", "c")) == entries


@pytest.mark.postgres
@pytest.mark.skipif(POSTGRES is None, reason="ISOGLOT_TEST_POSTGRES names no database")
def test_feedback_in_postgresql_is_in_the_archive_and_restores_to_either_log(
    isoglot, lines, data, tmp_path, monkeypatch
):
    name = f"c{uuid4().hex[:12]}"
    monkeypatch.setenv("ISOGLOT_COLLECTION", name)
    assert isoglot("index", lines(TIDES, GEZEITEN, WHEEL)).exit_code == 0
    entries = [entry(passage_id=str(n)) for n in range(3)]
    asyncio.run(logged(POSTGRES, data, name, *entries))
    # One that was kept in a file before, and is not the log any more.
    asyncio.run(logged(None, data, name, entry(passage_id="old")))
    monkeypatch.setenv("ISOGLOT_FEEDBACK_LOG", str(POSTGRES))
    assert isoglot("backup", tmp_path / "b").exit_code == 0

    asyncio.run(emptied(name))
    shutil.rmtree(data)
    result = isoglot("restore", tmp_path / "b")
    assert result.exit_code == 0, result.stderr
    assert asyncio.run(logged(POSTGRES, data, name)) == entries
    assert not (data / "feedback.sqlite3").exists()

    shutil.rmtree(data)
    monkeypatch.delenv("ISOGLOT_FEEDBACK_LOG")
    assert isoglot("restore", tmp_path / "b").exit_code == 0
    assert asyncio.run(logged(None, data, name)) == entries


async def emptied(collection: str) -> None:
    """Have the database lose what it keeps of a collection."""
    import psycopg

    with psycopg.connect(str(POSTGRES), autocommit=True) as connection:
        connection.execute("DELETE FROM isoglot_feedback WHERE collection = %s", (collection,))
