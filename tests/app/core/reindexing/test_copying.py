from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from app.core.encoding import EncoderThread
from app.core.errors import ReindexingError, StoreError, UnencodableTextError
from app.core.reindexing import copying
from app.core.reindexing.copying import Reindexer
from app.core.reindexing.journal import JournaledStore
from app.core.reindexing.progress import Progress
from app.core.types import CollectionSpec, EmbeddedPassage, NearestQuery, Passage
from tests.fakes import FAKE_COLLECTION, FAKE_ENCODER_SPEC, FakeEncoder, InMemoryStore, embed

NEW_SPEC = replace(FAKE_ENCODER_SPEC, dim=48)
NEW_COLLECTION = CollectionSpec("passages", NEW_SPEC.fingerprint(), NEW_SPEC.dim)
PASSAGES = [Passage(f"p{n:03d}", f"word{n} the sea", "en" if n % 2 else "de") for n in range(300)]


class CountingEncoder(FakeEncoder):
    def __init__(self) -> None:
        super().__init__(NEW_SPEC)
        self.texts: list[str] = []

    def encode_passages(self, texts):
        self.texts += texts
        return super().encode_passages(texts)


@pytest.fixture
async def source() -> JournaledStore:
    store = JournaledStore(InMemoryStore())
    await store.open(FAKE_COLLECTION)
    await store.upsert(
        [replace(e, content_hash=f"h{e.passage.id}") for e in embed(PASSAGES)], durable=False
    )
    return store


@pytest.fixture
async def target() -> InMemoryStore:
    store = InMemoryStore()
    await store.open(NEW_COLLECTION)
    return store


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder()


@pytest.fixture
async def reindexer(source, target, encoder) -> AsyncIterator[Reindexer]:
    thread = EncoderThread(encoder)
    yield Reindexer(source=source, target=target, encoder=thread)
    thread.close()


async def switch(reindexer: Reindexer) -> list[str]:
    switched = []

    async def take_over() -> None:
        switched.append("now")

    await reindexer.switch(take_over)
    return switched


async def assert_same(source: JournaledStore, target: InMemoryStore) -> None:
    everything = await source.scan(limit=1000)
    assert await target.scan(limit=1000) == everything
    ids = [passage.id for passage in everything]
    assert await target.content_hashes(ids) == await source.content_hashes(ids)


async def test_all_passages_are_copied_with_vectors_of_the_new_encoder(
    reindexer, source, target, encoder
):
    seen: list[Progress] = []
    reindexer._on_progress = lambda progress: seen.append(replace(progress))
    await reindexer.copy()
    assert await switch(reindexer) == ["now"]

    await assert_same(source, target)
    vector = encoder.encode_passages([PASSAGES[7].text])[0]
    [[hit]] = await target.search([NearestQuery(vector, 1)])
    assert (hit.passage, round(hit.score, 5)) == (PASSAGES[7], 1.0)
    assert seen[-1] == Progress("done", passages=300, compared=300, embedded=300)
    assert [p.compared for p in seen] == sorted(p.compared for p in seen)


async def test_a_second_copy_embeds_only_what_has_changed_and_removes_what_is_gone(
    reindexer, source, target, encoder
):
    await reindexer.copy()
    source.end()
    encoder.texts.clear()
    changed = replace(PASSAGES[3], metadata={"page": 3})
    await source.upsert(embed([changed]), durable=False)
    await source.delete(["p004", "p005"])

    again = Reindexer(source=source, target=target, encoder=reindexer._encoder)
    await again.copy()
    await switch(again)

    assert encoder.texts[0] == changed.text
    assert (again.progress.embedded, again.progress.removed) == (1, 2)
    await assert_same(source, target)


async def test_what_is_written_during_the_copy_is_there_at_the_switch(
    reindexer, source, target, monkeypatch
):
    monkeypatch.setattr(copying, "FEW", 0)
    original = reindexer._copy_changed
    pages = []

    async def copy_and_write(passages):
        await original(passages)
        pages.append(len(passages))
        if len(pages) == 1:
            await source.upsert(embed([Passage("new", "the new one", "en")]), durable=False)
            await source.delete(["p000"])
            changed = replace(PASSAGES[1], text="word1 is other")
            await source.upsert(embed([changed]), durable=False)

    monkeypatch.setattr(reindexer, "_copy_changed", copy_and_write)
    await reindexer.copy()
    await source.delete(["p002"])  # between copy and switch
    await switch(reindexer)

    await assert_same(source, target)


async def test_a_write_to_the_source_after_the_switch_is_in_the_target_when_it_is_acknowledged(
    reindexer, source, target
):
    await reindexer.copy()
    await switch(reindexer)
    await source.upsert(embed([Passage("late", "the late one", "en")]), durable=True)
    assert [p.id for p in await target.get(["late"])] == ["late"]
    await source.delete(["late", "p001"])
    await assert_same(source, target)


async def test_writers_faster_than_the_copy_end_the_catching_up(reindexer, source, monkeypatch):
    monkeypatch.setattr(copying, "FEW", -1)
    rounds = []

    async def carry(ids):
        rounds.append(len(ids))

    monkeypatch.setattr(reindexer, "carry", carry)
    await reindexer.copy()
    assert len(rounds) == copying.MAX_ROUNDS


async def test_a_passage_that_the_new_encoder_cannot_read_is_named(reindexer, source):
    [embedded] = embed([Passage("odd", "word", "en")])
    odd = EmbeddedPassage(replace(embedded.passage, text="…"), embedded.vector)
    await source.upsert([odd], durable=False)
    with pytest.raises(ReindexingError, match=r"no token of passage 'odd'.*reindex again"):
        await reindexer.copy()


async def test_an_encoder_that_refuses_only_together_is_an_error_of_its_own(
    reindexer, encoder, monkeypatch
):
    def refuse(texts):
        if len(texts) > 1:
            raise UnencodableTextError("no token")
        return FakeEncoder(NEW_SPEC).encode_passages(texts)

    monkeypatch.setattr(encoder, "encode_passages", refuse)
    with pytest.raises(UnencodableTextError):
        await reindexer.copy()


async def test_a_target_that_does_not_find_its_passages_is_not_switched_to(
    reindexer, target, encoder
):
    await reindexer.copy()
    wrong = np.zeros(NEW_SPEC.dim, np.float32)
    wrong[0] = 1.0
    [first] = await target.scan(limit=1)
    await target.upsert([EmbeddedPassage(first, wrong, f"h{first.id}")], durable=False)
    with pytest.raises(ReindexingError, match="does not find passage"):
        await switch(reindexer)


async def test_a_target_that_somebody_else_writes_to_is_not_switched_to(reindexer, target):
    await reindexer.copy()
    await target.delete([PASSAGES[9].id])
    await target.delete([p.id for p in PASSAGES[200:]])
    sample = {p.id for p in await reindexer._source.scan(limit=copying.SAMPLE)}
    await reindexer.carry(sample)
    with pytest.raises(ReindexingError, match="instead of 300"):
        await switch(reindexer)


async def test_a_switch_that_fails_leaves_the_source_as_it_was(reindexer, source):
    await reindexer.copy()

    async def fail() -> None:
        raise StoreError("The disk is full.")

    with pytest.raises(StoreError):
        await reindexer.switch(fail)
    assert await source.delete(["p000"]) == 1
    assert source.take() == {"p000"}
