"""The index build of the embedded store: beside the live collection, and swapped in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.adapters.edge.store import EdgePassageStore
from app.core.errors import StoreError, StoreUnavailableError
from app.core.lexical import query_words
from app.core.types import (
    ANY_PASSAGE,
    EmbeddedPassage,
    NearestQuery,
    Passage,
    PassageFilter,
    VectorArray,
    WordsQuery,
)
from tests.fakes import FAKE_COLLECTION, FAKE_DIM

CORPUS_SIZE = 1_500
LANGUAGES = ("de", "en", "fr")


def unit_vectors(count: int, seed: int) -> VectorArray:
    vectors = np.random.default_rng(seed).standard_normal((count, FAKE_DIM)).astype(np.float32)
    unit: VectorArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


VECTORS = unit_vectors(CORPUS_SIZE, seed=1)
QUERIES = unit_vectors(20, seed=2)


def corpus() -> list[EmbeddedPassage]:
    return [
        EmbeddedPassage(Passage(f"p{row}", f"text {row}", LANGUAGES[row % 3]), vector)
        for row, vector in enumerate(VECTORS)
    ]


def new_passages(prefix: str, count: int, seed: int) -> list[EmbeddedPassage]:
    vectors = unit_vectors(count, seed)
    return [EmbeddedPassage(Passage(f"{prefix}{n}", "new"), v) for n, v in enumerate(vectors)]


@pytest.fixture
async def store(store_directory: Path) -> AsyncIterator[EdgePassageStore]:
    store = EdgePassageStore(store_directory, index_threshold=1_000)
    await store.open(FAKE_COLLECTION)
    await store.upsert(corpus(), durable=False)
    yield store
    await store.close()


def shards(directory: Path) -> list[Path]:
    return list(directory.glob("shard-*"))


async def until_a_copy_is_built(directory: Path) -> None:
    while len(shards(directory)) < 2:  # noqa: ASYNC110  # another thread makes the directory
        await asyncio.sleep(0.001)


async def assert_answers_are_exact(
    store: EdgePassageStore, where: PassageFilter = ANY_PASSAGE
) -> None:
    """Scores within 1e-5 of the cosines, and at least 95 of 100 true neighbours found."""
    rows = [
        row
        for row in range(CORPUS_SIZE)
        if where.languages is None or LANGUAGES[row % 3] in where.languages
    ]
    answers = await store.search([NearestQuery(vector, 10, where) for vector in QUERIES])
    found = 0
    for query, hits in zip(QUERIES, answers, strict=True):
        cosines = {f"p{row}": float(VECTORS[row] @ query) for row in rows}
        nearest = sorted(cosines, key=lambda key: -cosines[key])[:10]
        found += len({hit.passage.id for hit in hits} & set(nearest))
        expected = [cosines[hit.passage.id] for hit in hits]
        np.testing.assert_allclose([hit.score for hit in hits], expected, atol=1e-5)
        assert expected == sorted(expected, reverse=True)
    assert found >= 0.95 * 10 * len(QUERIES)


async def test_a_build_indexes_every_passage_and_leaves_scores_exact(store, store_directory):
    report = await store.build()
    assert report.passages == report.indexed_passages == CORPUS_SIZE
    assert report.seconds > 0
    await assert_answers_are_exact(store)
    await assert_answers_are_exact(store, PassageFilter(frozenset({"de", "fr"})))
    assert dict(await store.languages()) == dict.fromkeys(LANGUAGES, CORPUS_SIZE // 3)
    await store.close()
    await store.open(FAKE_COLLECTION)
    assert (await store.health()).indexed_passages == CORPUS_SIZE
    await assert_answers_are_exact(store)
    assert len(shards(store_directory)) == 1


async def test_scores_of_an_indexed_collection_equal_those_before(store):
    queries = [NearestQuery(vector, 5) for vector in VECTORS[:50]]
    before = await store.search(queries)
    await store.build()
    assert [hits[0] for hits in await store.search(queries)] == [hits[0] for hits in before]


async def test_up_to_the_threshold_nothing_is_built(store, store_directory):
    [shard] = shards(store_directory)
    await store.delete([f"p{row}" for row in range(500)])
    report = await store.build()
    assert (report.passages, report.indexed_passages) == (1_000, 0)
    assert shards(store_directory) == [shard]


async def test_the_loop_turns_and_searches_are_answered_during_a_build(store):
    query = NearestQuery(VECTORS[0], 5)
    [expected] = await store.search([query])
    build = asyncio.create_task(store.build())
    answered = 0
    while not build.done():
        assert await store.search([query]) == [expected]
        answered += 1
        await asyncio.sleep(0.005)
    assert (await build).indexed_passages == CORPUS_SIZE
    assert answered >= 10


async def test_no_write_during_a_build_is_lost(store, store_directory):
    build = asyncio.create_task(store.build())
    written: list[EmbeddedPassage] = []
    deleted: list[str] = []
    while not build.done():
        step = len(deleted)
        fresh = new_passages(f"step{step}-", 3, seed=step)
        overwritten = EmbeddedPassage(Passage(f"p{step}", "overwritten"), fresh[0].vector)
        await store.upsert([*fresh, overwritten], durable=False)
        written += [*fresh, overwritten]
        deleted.append(f"p{CORPUS_SIZE - 1 - step}")
        assert await store.delete([deleted[-1]]) == 1
        await asyncio.sleep(0.01)
    await build
    assert len(deleted) >= 5
    for _ in range(2):
        found = await store.get([embedded.passage.id for embedded in written])
        assert found == [embedded.passage for embedded in written]
        assert await store.get(deleted) == []
        assert await store.count() == CORPUS_SIZE + 3 * len(deleted) - len(deleted)
        answers = await store.search([NearestQuery(e.vector, 2) for e in written])
        assert all(hits[0].score == pytest.approx(1.0, abs=1e-5) for hits in answers)
        await store.close()
        await store.open(FAKE_COLLECTION)


async def test_a_later_build_indexes_what_was_added_since(store, store_directory):
    await store.build()
    await store.upsert(new_passages("new", 300, seed=5), durable=False)
    assert (await store.health()).indexed_passages == CORPUS_SIZE
    report = await store.build()
    assert report.passages == report.indexed_passages == CORPUS_SIZE + 300
    assert len(shards(store_directory)) == 1


async def test_words_are_found_during_and_after_a_build_and_counted_apart(store, store_directory):
    def asked(text: str) -> WordsQuery:
        return WordsQuery(query_words(text), QUERIES[0], 5)

    await store.close()
    await store.open(replace(FAKE_COLLECTION, words=True))
    assert (await store.health()).indexed_passages == 0
    before = await store.search_words([asked("7 8"), asked("8")])
    build = asyncio.create_task(store.build())
    await until_a_copy_is_built(store_directory)
    await store.upsert(new_passages("pelican", 1, seed=9), durable=False)
    await store.delete(["p1499"])
    assert (await build).indexed_passages == CORPUS_SIZE
    for _ in range(2):
        after = await store.search_words([asked("7 8"), asked("8"), asked("new"), asked("1499")])
        assert [[hit.passage for hit in found.hits] for found in after[:2]] == [
            [hit.passage for hit in found.hits] for found in before
        ]
        assert [hit.score for hit in after[1].hits] == pytest.approx(
            [hit.score for hit in before[1].hits], abs=1e-6
        )
        assert [hit.passage.id for hit in after[2].hits] == ["pelican0"]
        assert after[3].hits == []
        assert (await store.health()).indexed_passages == CORPUS_SIZE
        await store.upsert(corpus()[:6], durable=False)
        await store.close()
        await store.open(FAKE_COLLECTION)
    await assert_answers_are_exact(store)


async def test_a_second_build_at_the_same_time_is_refused(store):
    first = asyncio.create_task(store.build())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailableError, match="running already"):
        await store.build()
    assert (await first).indexed_passages == CORPUS_SIZE


async def assert_untouched(store: EdgePassageStore, directory: Path) -> None:
    assert await store.count() == CORPUS_SIZE
    assert (await store.health()).indexed_passages == 0
    assert len(shards(directory)) == 1
    await assert_answers_are_exact(store)


async def test_a_build_that_fails_leaves_the_live_collection_alone(
    store, store_directory, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(StoreError, match="exit status 1"):
            await store.build()
    await assert_untouched(store, store_directory)
    assert (await store.build()).indexed_passages == CORPUS_SIZE


async def test_a_build_process_that_cannot_start_is_a_store_error(
    store, store_directory, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(StoreError, match="start the index build"):
            await store.build()
    await assert_untouched(store, store_directory)


async def test_closing_ends_a_build_and_keeps_everything(store, store_directory):
    build = asyncio.create_task(store.build())
    await until_a_copy_is_built(store_directory)
    await store.upsert(new_passages("late", 3, seed=6), durable=False)
    await store.close()
    with pytest.raises(StoreUnavailableError, match="closed during the build") as caught:
        await build
    assert "exit status -9" in str(caught.value.__cause__), "the builder was not killed"
    await store.open(FAKE_COLLECTION)
    assert await store.delete(["late0", "late1", "late2"]) == 3
    await assert_untouched(store, store_directory)


async def test_cancelling_a_build_cleans_up_and_keeps_everything(store, store_directory):
    build = asyncio.create_task(store.build())
    await until_a_copy_is_built(store_directory)
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    await assert_untouched(store, store_directory)
    assert (await store.build()).indexed_passages == CORPUS_SIZE
