"""What every passage store must find by words: one suite over all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.access.tenancy import TenantStore, tenant_filter, with_tenant_field
from app.core.errors import InvalidInputError, StoreUnavailableError, WordsNotIndexedError
from app.core.lexical import query_words
from app.core.ports import PassageStore
from app.core.types import (
    ANY_PASSAGE,
    FoundByWords,
    NearestQuery,
    Passage,
    PassageFilter,
    WordsQuery,
)
from tests.fakes import FAKE_COLLECTION, FakeEncoder, InMemoryStore, embed
from tests.stores import STORE_PARAMS, STORES

WITH_WORDS = replace(FAKE_COLLECTION, words=True, fields=with_tenant_field({}))
WITHOUT_WORDS = replace(WITH_WORDS, words=False)

CORPUS = [
    Passage("en-sea", "the sea is salt and the sea is wide", "en"),
    Passage("en-sun", "the sun is hot", "en"),
    Passage("en-both", "the sun over the sea", "en"),
    Passage("de-sea", "das Meer ist salzig", "de"),
    Passage("ja", "東京都の海", "ja"),
    Passage("long", "sea " + "and some other words " * 60, "en"),
]


@pytest.fixture(params=STORE_PARAMS)
def closed_store(request: pytest.FixtureRequest, store_directory: Path) -> PassageStore:
    return STORES[request.param](store_directory / "collection")


@pytest.fixture
async def store(closed_store: PassageStore) -> AsyncIterator[PassageStore]:
    await closed_store.open(WITH_WORDS)
    await closed_store.upsert(embed(CORPUS), durable=False)
    yield closed_store
    await closed_store.close()


def asked(text: str, limit: int = 10, **options: Any) -> WordsQuery:
    vector = FakeEncoder().encode_queries([text or "nothing"])[0]
    return replace(WordsQuery(query_words(text), vector, limit), **options)


async def found_in(store: PassageStore, query: WordsQuery) -> FoundByWords:
    [found] = await store.search_words([query])
    return found


async def in_memory(passages: Sequence[Passage], query: WordsQuery) -> FoundByWords:
    store = InMemoryStore()
    await store.open(WITH_WORDS)
    await store.upsert(embed(passages), durable=False)
    return await found_in(store, query)


def ids(found: FoundByWords) -> list[str]:
    return [hit.passage.id for hit in found.hits]


def assert_alike(found: FoundByWords, expected: FoundByWords) -> None:
    assert ids(found) == ids(expected)
    for hit, other in zip(found.hits, expected.hits, strict=True):
        assert hit.passage == other.passage
        assert hit.lexical_score == pytest.approx(other.lexical_score, rel=1e-5)
        assert hit.score == pytest.approx(other.score, abs=1e-6)
    assert found.beside == pytest.approx(dict(expected.beside), rel=1e-5)


@pytest.mark.parametrize("text", ["the sea", "SUN", "東京", "salzig meer", "sea sea sea", "unseen"])
async def test_lexical_scores_are_those_of_bm25(store, text):
    query = asked(text, beside=("en-sun", "de-sea", "missing"))
    assert_alike(await found_in(store, query), await in_memory(CORPUS, query))


async def test_passages_that_share_no_word_are_not_found(store):
    assert ids(await found_in(store, asked("Meer"))) == ["de-sea"]
    assert ids(await found_in(store, asked("zebra"))) == []
    assert ids(await found_in(store, asked("京"))) == []


async def test_a_rare_word_counts_more_than_a_common_one_and_a_short_passage_more_than_a_long(
    store,
):
    assert ids(await found_in(store, asked("salt sun"))) == ["en-sea", "en-sun", "en-both"]
    assert ids(await found_in(store, asked("sea")))[-1] == "long"


async def test_a_query_without_words_finds_nothing(store):
    query = asked("", beside=("en-sea",))
    assert await found_in(store, query) == FoundByWords([], {})


async def test_scores_of_what_is_found_by_words_are_those_of_a_search_by_vector(store):
    query = asked("the salt of the sea")
    [nearest] = await store.search([NearestQuery(query.vector, 10)])
    by_vector = {hit.passage.id: hit.score for hit in nearest}
    found = await found_in(store, query)
    assert found.hits
    for hit in found.hits:
        assert hit.score == pytest.approx(by_vector[hit.passage.id], abs=1e-6)


async def test_only_eligible_passages_are_found_but_words_are_counted_in_all(store):
    german = PassageFilter(languages=frozenset({"de"}))
    [alone] = (await found_in(store, asked("sea meer", where=german))).hits
    [among] = [h for h in (await found_in(store, asked("sea meer"))).hits if h[0].id == "de-sea"]
    assert alone.passage.id == "de-sea"
    assert alone.lexical_score == among.lexical_score


async def test_words_are_counted_where_the_query_says(store):
    english = PassageFilter(languages=frozenset({"en"}))
    for counted in (english, ANY_PASSAGE):
        query = asked("the sea", counted=counted)
        assert_alike(await found_in(store, query), await in_memory(CORPUS, query))


@pytest.mark.parametrize("limit", [1, 2, 7, 19, 20, 25])
async def test_equal_lexical_scores_are_ordered_by_id_wherever_the_limit_cuts(store, limit):
    shuffled = np.random.default_rng(1).permutation(20)
    await store.upsert(embed([Passage(f"twin{n:02d}", "twin") for n in shuffled]), durable=False)
    found = ids(await found_in(store, asked("twin", limit)))
    assert found == [f"twin{n:02d}" for n in range(20)][:limit]


async def test_words_follow_every_write(store):
    await store.upsert(embed([Passage("en-sea", "the moon is cold", "en")]), durable=False)
    await store.delete(["en-both"])
    assert ids(await found_in(store, asked("sea"))) == ["long"]
    assert ids(await found_in(store, asked("moon"))) == ["en-sea"]


async def test_a_passage_may_be_replaced_by_one_without_words(store):
    [embedded] = embed([Passage("en-sea", "words", "en")])
    without = replace(embedded, passage=Passage("en-sea", "?!", "en"))
    await store.upsert([without], durable=False)
    assert ids(await found_in(store, asked("salt"))) == []
    assert await store.count() == len(CORPUS)


async def test_words_outlive_close_and_stay_indexed_whatever_the_setting(store):
    before = await found_in(store, asked("the sea"))
    await store.close()
    await store.open(WITHOUT_WORDS)
    assert store.words
    await store.upsert(embed([Passage("new", "an unheard-of pelican", "en")]), durable=False)
    assert ids(await found_in(store, asked("pelican"))) == ["new"]
    await store.delete(["new"])
    assert ids(await found_in(store, asked("the sea"))) == ids(before)


async def test_words_of_stored_passages_are_indexed_once_they_are_wanted(closed_store):
    await closed_store.open(WITHOUT_WORDS)
    await closed_store.upsert(embed([*CORPUS, Passage("no-words", "x")]), durable=True)
    assert not closed_store.words
    await closed_store.close()
    await closed_store.open(WITH_WORDS)
    assert closed_store.words
    query = asked("the sea", beside=("en-sun", "ja"))
    stored = [*CORPUS, Passage("no-words", "x")]
    assert_alike(await found_in(closed_store, query), await in_memory(stored, query))
    assert await closed_store.get([passage.id for passage in CORPUS]) == CORPUS
    await closed_store.close()
    await closed_store.open(WITH_WORDS)
    assert_alike(await found_in(closed_store, query), await in_memory(stored, query))
    await closed_store.close()


async def test_a_collection_without_words_refuses_and_says_what_to_do(closed_store):
    await closed_store.open(WITHOUT_WORDS)
    await closed_store.upsert(embed(CORPUS), durable=False)
    with pytest.raises(WordsNotIndexedError, match="ISOGLOT_HYBRID=true"):
        await closed_store.search_words([asked("sea")])
    await closed_store.close()


async def test_a_closed_store_has_no_words(store):
    await store.close()
    with pytest.raises(StoreUnavailableError):
        await store.search_words([asked("sea")])
    with pytest.raises(StoreUnavailableError):
        assert store.words
    await store.open(WITH_WORDS)


async def test_a_wrong_query_is_rejected(store):
    good = asked("sea")
    for pointer, bad in {
        "/1/vector": replace(good, vector=good.vector * np.float32(0)),
        "/1/limit": replace(good, limit=0),
    }.items():
        with pytest.raises(InvalidInputError) as caught:
            await store.search_words([good, bad])
        assert caught.value.pointer == pointer


async def test_a_tenant_finds_its_own_passages_and_learns_nothing_of_the_words_of_others(store):
    await store.delete_where(ANY_PASSAGE)
    ours, theirs = TenantStore(store, "acme"), TenantStore(store, "rival")
    await ours.upsert(embed([Passage("a", "blue sea"), Passage("b", "green hill")]), durable=False)
    query = asked("sea hill", beside=("a", "b"))
    alone = await found_in(ours, query)
    await theirs.upsert(
        embed([Passage("a", "the sea, the sea"), Passage("c", "sea")]), durable=False
    )
    found = await found_in(ours, query)
    assert ours.words
    assert sorted(ids(found)) == ["a", "b"]
    assert found.beside.keys() == {"a", "b"}
    assert_alike(found, alone)
    [hit, _] = found.hits
    assert "_tenant" not in hit.passage.metadata
    everybody = await found_in(store, replace(query, where=tenant_filter("acme"), beside=()))
    assert everybody.hits[-1].lexical_score < alone.hits[-1].lexical_score
