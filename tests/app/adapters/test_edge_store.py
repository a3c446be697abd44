"""The embedded store beyond the contract: its directory, its log, and the engine's hazards."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import qdrant_edge as qe

from app.adapters.edge.directory import LOCK_FILE
from app.adapters.edge.record import RECORD_FILE
from app.adapters.edge.shard import PassageShard
from app.adapters.edge.store import EdgePassageStore
from app.core.errors import (
    EncoderMismatchError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
    WordsNotIndexedError,
)
from app.core.lexical import query_words
from app.core.types import ANY_PASSAGE, Passage, WordsQuery
from tests.fakes import FAKE_COLLECTION, FAKE_DIM, embed

PASSAGES = [Passage(f"p{n}", f"passage number {n}") for n in range(12)]


@pytest.fixture
def root(store_directory: Path) -> Path:
    return store_directory / "collection"


async def opened(root: Path, flush_every: int = 2_000, sync_every: int = 2_000) -> EdgePassageStore:
    store = EdgePassageStore(root, flush_every=flush_every, sync_every=sync_every)
    await store.open(FAKE_COLLECTION)
    return store


async def create_with_passages(root: Path) -> None:
    store = await opened(root)
    await store.upsert(embed(PASSAGES), durable=True)
    await store.close()


async def assert_holds_passages(root: Path) -> None:
    store = await opened(root)
    assert await store.get([passage.id for passage in PASSAGES]) == PASSAGES
    await store.close()


def live_shard(root: Path) -> Path:
    name: str = json.loads((root / RECORD_FILE).read_text())["shard"]
    return root / name


def contents(root: Path) -> dict[Path, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and path.name != LOCK_FILE)
    return {path: path.read_bytes() for path in files}


class TestOneOpener:
    async def test_a_second_store_in_this_process_is_refused(self, root):
        first = await opened(root)
        second = EdgePassageStore(root)
        with pytest.raises(StoreLockedError, match="One process at a time"):
            await second.open(FAKE_COLLECTION)
        assert await first.count() == 0
        await first.close()
        await second.open(FAKE_COLLECTION)
        await second.close()

    async def test_another_process_is_refused_with_advice_and_may_open_it_later(self, root):
        holder = await create_subprocess_exec(
            *(sys.executable, "-m", "tests.app.adapters.edge_children", "open", str(root)),
            stdout=PIPE,
        )
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"open\n"
        with pytest.raises(StoreLockedError) as caught:
            await opened(root)
        assert f"process {holder.pid}" in str(caught.value)
        assert "one worker" in str(caught.value)
        holder.kill()
        await holder.wait()
        await (await opened(root)).close()

    async def test_a_process_is_refused_what_this_one_has_open(self, root):
        store = await opened(root)
        other = await create_subprocess_exec(
            *(sys.executable, "-m", "tests.app.adapters.edge_children", "open", str(root)),
            stdout=PIPE,
        )
        output, _ = await other.communicate()
        assert output.startswith(b"StoreLockedError: ")
        await store.close()


class TestBinding:
    async def test_the_directory_says_what_it_was_indexed_with(self, root):
        await create_with_passages(root)
        record = json.loads((root / RECORD_FILE).read_text())
        assert record == {
            "name": FAKE_COLLECTION.name,
            "encoder_id": FAKE_COLLECTION.encoder_id,
            "dim": FAKE_DIM,
            "schema": 1,
            "shard": live_shard(root).name,
            "fields": {},
        }

    async def test_another_encoder_changes_no_byte(self, root):
        await create_with_passages(root)
        (root / "shard-00000000").mkdir()
        before = contents(root)
        with pytest.raises(EncoderMismatchError):
            await EdgePassageStore(root).open(replace(FAKE_COLLECTION, encoder_id="other"))
        assert contents(root) == before
        assert (root / "shard-00000000").is_dir()

    @pytest.mark.parametrize(
        "document",
        [
            "",
            "not JSON",
            "[]",
            "{}",
            '{"name": "passages", "encoder_id": "x", "dim": 32, "surprise": 1}',
            '{"name": "passages", "encoder_id": 7, "dim": 32}',
            '{"name": "passages", "encoder_id": "x", "dim": "32"}',
            '{"name": "passages", "encoder_id": "x", "dim": 32, "schema": 2}',
            '{"name": "passages", "encoder_id": "x", "dim": 32, "shard": "../elsewhere"}',
            '{"name": "passages", "encoder_id": "x", "dim": 32, "shard": 7}',
        ],
    )
    async def test_a_damaged_record_is_an_error_that_names_the_file(self, root, document):
        await create_with_passages(root)
        record = (root / RECORD_FILE).read_text()
        (root / RECORD_FILE).write_text(document)
        with pytest.raises(StoreError, match=RECORD_FILE):
            await opened(root)
        (root / RECORD_FILE).write_text(record)
        await assert_holds_passages(root)

    async def test_passages_without_a_record_are_left_alone(self, root):
        await create_with_passages(root)
        record = (root / RECORD_FILE).read_text()
        (root / RECORD_FILE).unlink()
        with pytest.raises(StoreError, match=RECORD_FILE):
            await opened(root)
        (root / RECORD_FILE).write_text(record)
        await assert_holds_passages(root)

    async def test_a_missing_shard_is_not_replaced_by_an_empty_one(self, root):
        await create_with_passages(root)
        shard = live_shard(root)
        shard.rename(root / "moved away")
        with pytest.raises(StoreError, match=f"{shard.name}, but that directory is missing"):
            await opened(root)
        (root / "moved away").rename(shard)
        await assert_holds_passages(root)

    async def test_a_directory_that_cannot_be_made_is_a_clear_error(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(StoreError, match="Cannot use the data directory"):
            await opened(tmp_path / "file" / "collection")

    async def test_a_damaged_shard_is_a_store_error_and_lets_go_of_the_lock(self, root):
        await create_with_passages(root)
        config = live_shard(root) / "edge_config.json"
        good = config.read_bytes()
        config.write_text("garbage")
        for _ in range(2):
            with pytest.raises(StoreError, match="could not load"):
                await opened(root)
        config.write_bytes(good)
        await assert_holds_passages(root)


class TestRecovery:
    async def test_a_creation_that_was_cut_short_is_begun_again(self, root):
        """A shard directory without a configuration is what a kill inside ``create`` leaves."""
        await create_with_passages(root)
        record = json.loads((root / RECORD_FILE).read_text())
        (live_shard(root) / "edge_config.json").unlink()
        (root / RECORD_FILE).write_text(json.dumps(record | {"shard": None}))
        store = await opened(root)
        assert await store.count() == 0
        await store.upsert(embed(PASSAGES), durable=False)
        await store.close()
        await assert_holds_passages(root)
        assert [path.name for path in root.glob("shard-*")] == [live_shard(root).name]

    async def test_leftovers_of_a_crash_are_removed_and_strangers_are_not(self, root):
        await create_with_passages(root)
        shutil.copytree(live_shard(root), root / "shard-01234567")
        (root / "shard-notes.txt").write_text("kept")
        await assert_holds_passages(root)
        names = {path.name for path in root.iterdir()}
        assert names == {LOCK_FILE, RECORD_FILE, "shard-notes.txt", live_shard(root).name}


class TestFlushing:
    """What a shard still holds without its log is what has been flushed."""

    def flushed(self, root: Path) -> int:
        copy = root.parent / "without-log"
        shutil.rmtree(copy, ignore_errors=True)
        logs = shutil.ignore_patterns("open-*", "closed-*")
        shutil.copytree(live_shard(root), copy, ignore=logs)
        shard = PassageShard.load(copy, FAKE_DIM, {})
        try:
            return shard.count(ANY_PASSAGE)
        finally:
            shard.close()

    async def test_an_ordinary_write_is_in_the_log_only(self, root):
        store = await opened(root)
        await store.upsert(embed(PASSAGES), durable=False)
        assert self.flushed(root) == 0
        await store.close()

    async def test_writes_are_flushed_now_and_then(self, root):
        store = await opened(root, flush_every=5)
        for passage in PASSAGES[:9]:
            await store.upsert(embed([passage]), durable=False)
        assert self.flushed(root) == 5
        assert await store.delete(["p0", "p1"]) == 2
        assert self.flushed(root) == 7
        await store.close()

    async def test_closing_flushes(self, root):
        store = await opened(root)
        await store.upsert(embed(PASSAGES), durable=False)
        await store.close()
        assert self.flushed(root) == len(PASSAGES)


class TestClosing:
    async def test_closing_waits_for_a_write_that_has_begun_and_refuses_later_ones(self, root):
        store = await opened(root)
        many = embed([Passage(f"p{n}", f"passage number {n}") for n in range(1_000)])
        begun = asyncio.create_task(store.upsert(many, durable=False))
        await asyncio.sleep(0)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailableError):
            await store.upsert(many[:1], durable=False)
        await begun
        await closing
        await store.open(FAKE_COLLECTION)
        assert await store.count() == 1_000
        await store.close()

    async def test_a_write_that_waits_when_the_store_closes_is_refused_whole(self, root):
        store = await opened(root)
        many = embed([Passage(f"p{n}", f"passage number {n}") for n in range(1_000)])
        begun = asyncio.create_task(store.upsert(many, durable=False))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(store.upsert(embed([Passage("late", "x")]), durable=False))
        await asyncio.sleep(0)
        await store.close()
        await begun
        with pytest.raises(StoreUnavailableError):
            await waiting
        await store.open(FAKE_COLLECTION)
        assert await store.get(["late"]) == []
        await store.close()

    async def test_a_close_that_was_cancelled_can_be_asked_for_again(self, root):
        store = await opened(root)
        many = embed([Passage(f"p{n}", f"passage number {n}") for n in range(1_000)])
        begun = asyncio.create_task(store.upsert(many, durable=False))
        await asyncio.sleep(0)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        closing.cancel()
        await begun
        assert closing.cancelled()
        await store.close()
        await store.open(FAKE_COLLECTION)
        assert await store.count() == 1_000
        await store.close()


class TestEngine:
    """Facts about qdrant-edge 0.9.0 that the adapter is built around."""

    def test_a_write_that_the_engine_rejects_comes_back_after_a_reload(self, store_directory):
        """When this fails, upstream has mended it; validation may then become less strict."""
        path = str(store_directory / "shard")
        dense = qe.EdgeVectorParams(size=2, distance=qe.Distance.Cosine)
        shard = qe.EdgeShard.create(path, qe.EdgeConfig(vectors={"dense": dense}))
        upsert = qe.UpdateOperation.upsert_points
        shard.update(upsert([qe.Point(1, {"dense": [1.0, 0.0]}, {"is": "good"})]))
        shard.flush()
        with pytest.raises(Exception, match="Not existing vector name"):
            shard.update(upsert([qe.Point(1, {"other": [1.0, 0.0]}, {"is": "rejected"})]))
        [before] = shard.retrieve([1], with_payload=True, with_vector=True)
        assert before.payload == {"is": "good"}
        shard.close()

        shard = qe.EdgeShard.load(path)
        [after] = shard.retrieve([1], with_payload=True, with_vector=True)
        shard.close()
        assert after.payload == {"is": "rejected"}
        assert not after.vector

    def test_the_engine_stores_vectors_that_validation_refuses(self, store_directory):
        """Nobody but the adapter stands between a NaN and the collection."""
        shard = PassageShard.create(store_directory / "shard", FAKE_DIM)
        [embedded] = embed(PASSAGES[:1])
        shard.upsert([replace(embedded, vector=np.full(FAKE_DIM, np.nan, dtype=np.float32))])
        assert shard.count(ANY_PASSAGE) == 1
        shard.close()

    def test_every_engine_failure_is_a_store_error(self, store_directory):
        shard = PassageShard.create(store_directory / "shard", FAKE_DIM)
        shard.close()
        with pytest.raises(StoreError, match="not initialized") as caught:
            shard.count(ANY_PASSAGE)
        assert type(caught.value.__cause__) is Exception


class TestDeclaredFields:
    WITH_YEAR = replace(FAKE_COLLECTION, fields={"year": "integer"})

    async def test_the_directory_says_which_fields_every_passage_holds(self, root):
        await create_with_passages(root)
        store = EdgePassageStore(root)
        await store.open(self.WITH_YEAR)
        await store.close()
        assert json.loads((root / RECORD_FILE).read_text())["fields"] == {"year": "integer"}

    async def test_a_declaration_that_was_interrupted_begins_again(self, root, monkeypatch):
        await create_with_passages(root)
        dated = [replace(passage, metadata={"year": 2020}) for passage in PASSAGES]
        store = await opened(root)
        await store.upsert(embed(dated), durable=True)
        await store.close()

        def fail(*_: object) -> None:
            raise StoreError("The disk is full.")

        with monkeypatch.context() as patch:
            patch.setattr(PassageShard, "adopt_fields", fail)
            with pytest.raises(StoreError, match="full"):
                await store.open(self.WITH_YEAR)
            with pytest.raises(StoreUnavailableError):
                await store.count()
        await store.open(self.WITH_YEAR)
        assert await store.facets("year", limit=1) == {2020: len(PASSAGES)}
        assert await store.get([passage.id for passage in dated]) == dated
        await store.close()

    async def test_a_directory_from_before_there_were_fields_is_opened(self, root):
        await create_with_passages(root)
        record = json.loads((root / RECORD_FILE).read_text())
        del record["fields"]
        (root / RECORD_FILE).write_text(json.dumps(record))
        await assert_holds_passages(root)

    @pytest.mark.parametrize("fields", [{"year": "text"}, {"language": "keyword"}, ["year"], 7])
    async def test_damaged_fields_are_an_error_that_names_the_file(self, root, fields):
        await create_with_passages(root)
        record = json.loads((root / RECORD_FILE).read_text())
        (root / RECORD_FILE).write_text(json.dumps({**record, "fields": fields}))
        with pytest.raises(StoreError, match=RECORD_FILE):
            await opened(root)


class TestDeclaredWords:
    WITH_WORDS = replace(FAKE_COLLECTION, words=True)

    async def test_only_a_collection_with_words_says_so_in_its_record(self, root):
        await create_with_passages(root)
        assert "indexed" not in json.loads((root / RECORD_FILE).read_text())
        store = EdgePassageStore(root)
        await store.open(self.WITH_WORDS)
        await store.close()
        assert json.loads((root / RECORD_FILE).read_text())["indexed"] == 0

    async def test_indexing_words_that_was_interrupted_begins_again(self, root, monkeypatch):
        await create_with_passages(root)
        store = EdgePassageStore(root)

        def fail(*_: object) -> None:
            raise StoreError("The disk is full.")

        with monkeypatch.context() as patch:
            patch.setattr(PassageShard, "adopt_words", fail)
            with pytest.raises(StoreError, match="full"):
                await store.open(self.WITH_WORDS)
        await store.open(FAKE_COLLECTION)
        [embedded] = embed(PASSAGES[:1])
        query = WordsQuery(query_words(PASSAGES[0].text), embedded.vector, 1)
        with pytest.raises(WordsNotIndexedError):
            await store.search_words([query])
        await store.close()
        await store.open(self.WITH_WORDS)
        [found] = await store.search_words([query])
        assert [hit.passage for hit in found.hits] == PASSAGES[:1]
        await store.close()

    @pytest.mark.parametrize("indexed", ["all", 1.5])
    async def test_a_damaged_number_is_an_error_that_names_the_file(self, root, indexed):
        await create_with_passages(root)
        record = json.loads((root / RECORD_FILE).read_text())
        (root / RECORD_FILE).write_text(json.dumps({**record, "indexed": indexed}))
        with pytest.raises(StoreError, match=RECORD_FILE):
            await opened(root)


async def test_passages_from_before_they_had_hashes_and_documents_are_read(root, monkeypatch):
    def to_old_payload(embedded, _fields):
        passage = embedded.passage
        return {
            "id": passage.id,
            "text": passage.text,
            "language": passage.language,
            "parallel_id": passage.parallel_id,
            "metadata": json.dumps(passage.metadata),
        }

    monkeypatch.setattr("app.adapters.edge.shard.to_payload", to_old_payload)
    await create_with_passages(root)
    await assert_holds_passages(root)
    store = await opened(root)
    assert await store.content_hashes(["p0", "p1"]) == {"p0": "", "p1": ""}
    await store.close()
