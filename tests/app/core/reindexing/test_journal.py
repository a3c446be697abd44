from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

import pytest

from app.core.errors import CountMismatchError, StoreError
from app.core.lexical import query_words
from app.core.reindexing.journal import JournaledStore
from app.core.types import ANY_PASSAGE, NearestQuery, Passage, PassageFilter, WordsQuery
from tests.fakes import FAKE_COLLECTION, FakeEncoder, InMemoryStore, embed

PASSAGES = [Passage("a", "the sea is salt", "en"), Passage("b", "das Meer ist salzig", "de")]
GERMAN = PassageFilter(frozenset({"de"}))


class SlowStore(InMemoryStore):
    """Waits in the middle of a write until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def upsert(self, passages, *, durable):
        self.begun.set()
        await self.go_on.wait()
        await super().upsert(passages, durable=durable)


@pytest.fixture
async def store() -> JournaledStore:
    journaled = JournaledStore(InMemoryStore())
    await journaled.open(FAKE_COLLECTION)
    await journaled.upsert(embed(PASSAGES), durable=True)
    return journaled


async def test_it_finds_by_words_as_the_store_does(store):
    assert [store.words] == [False]
    await store.close()
    await store.open(replace(FAKE_COLLECTION, words=True))
    [embedded] = embed(PASSAGES[:1])
    query = WordsQuery(query_words(PASSAGES[0].text), embedded.vector, 1)
    [found] = await store.search_words([query])
    assert [hit.passage for hit in found.hits] == PASSAGES[:1]
    assert [store.words] == [True]


async def test_it_answers_as_the_store_does(store):
    [hits] = await store.search([NearestQuery(FakeEncoder().encode_queries(["sea"])[0], 1)])
    assert [hit.passage.id for hit in hits] == ["a"]
    assert store.fields == {}
    assert await store.count(GERMAN) == 1
    assert await store.languages() == {"de": 1, "en": 1}
    assert await store.facets("language", limit=1) == {"de": 1}
    assert await store.content_hashes(["a"]) == {"a": ""}
    assert [p.id for p in await store.get(["b"])] == ["b"]
    assert len(await store.scan(limit=5)) == 2
    assert (await store.build()).passages == (await store.health()).passages == 2
    assert await store.delete_where(GERMAN, expected=1) == 1
    await store.close()


async def test_what_is_written_is_noted_until_it_is_taken(store):
    assert store.take() == set()
    store.begin()
    await store.upsert(embed([PASSAGES[0]]), durable=False)
    await store.delete(["missing"])
    assert store.take() == {"a", "missing"}
    assert store.take() == set()
    await store.delete_where(GERMAN)
    assert store.take() == {"b"}
    store.end()
    await store.delete(["a"])
    assert store.take() == set()


async def test_what_failed_is_noted_too_because_part_of_it_may_be_written(store):
    store.begin()
    await store.close()
    with pytest.raises(StoreError):
        await store.delete(["a"])
    assert store.take() == {"a"}


async def test_another_number_than_expected_deletes_nothing_while_there_is_a_journal(store):
    store.begin()
    with pytest.raises(CountMismatchError):
        await store.delete_where(ANY_PASSAGE, expected=3)
    assert await store.count() == 2
    assert await store.delete_where(ANY_PASSAGE, expected=2) == 2


async def test_a_pause_waits_for_writers_and_holds_new_ones_back():
    slow = SlowStore()
    store = JournaledStore(slow)
    await store.open(FAKE_COLLECTION)
    order: list[str] = []

    async def write(name: str) -> None:
        await store.upsert(embed([PASSAGES[0]]), durable=False)
        order.append(name)

    async def pause() -> None:
        async with store.paused():
            order.append("paused")
            await asyncio.sleep(0.01)
        order.append("over")

    first = asyncio.create_task(write("first"))
    await slow.begun.wait()
    pausing = asyncio.create_task(pause())
    await asyncio.sleep(0)
    second = asyncio.create_task(write("second"))
    await asyncio.sleep(0)
    slow.go_on.set()
    await asyncio.gather(first, pausing, second)
    assert order == ["first", "paused", "over", "second"]


async def test_a_write_is_acknowledged_once_it_is_carried_over(store):
    carried: list[set[str]] = []

    async def carry(ids: Collection[str]) -> None:
        assert "c" not in ids or await store.get(["c"])
        carried.append(set(ids))

    store.carry_over(carry)
    await store.upsert(embed([Passage("c", "the sun is hot", "en")]), durable=False)
    await store.delete_where(GERMAN)
    assert carried == [{"c"}, {"b"}]


async def test_a_pause_waits_for_the_last_of_several_writers():
    slow = SlowStore()
    store = JournaledStore(slow)
    await store.open(FAKE_COLLECTION)
    writer = asyncio.create_task(store.upsert(embed([PASSAGES[0]]), durable=False))
    await slow.begun.wait()
    await store.delete(["b"])
    slow.go_on.set()
    async with store.paused():
        assert writer.done()
        assert [p.id for p in await store.get(["a"])] == ["a"]
