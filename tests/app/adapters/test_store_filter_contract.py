"""What every passage store must do with filters, listings, facets and declared fields."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import CountMismatchError, InvalidInputError, MalformedFilterError
from app.core.passages.filters import parse_filter
from app.core.ports import PassageStore
from app.core.types import (
    ANY_PASSAGE,
    EmbeddedPassage,
    FieldKind,
    NearestQuery,
    Passage,
    PassageFilter,
)
from tests.app.adapters.test_store_contract import passages_of, random_unit_vectors
from tests.fakes import FAKE_COLLECTION, FakeEncoder, embed
from tests.stores import STORE_PARAMS, STORES

FIELDS: dict[str, FieldKind] = {
    "product": "keyword",
    "year": "integer",
    "open": "bool",
    "price": "float",
}
COLLECTION = replace(FAKE_COLLECTION, fields=FIELDS)

CORPUS = [
    Passage("a", "the sea is salt", "en", "sea", {"product": ["pro", "team"], "year": 2020}),
    Passage("b", "das Meer ist salzig", "de", "sea", {"product": "pro", "open": True}),
    Passage("c", "the sun is hot", "en", "sun", {"product": "free", "year": 2021, "open": False}),
    Passage("d#1", "first part", "en", None, {"price": 1.5}, "d", (0, 10)),
    Passage("d#2", "second part", "en", None, {"price": 2.5}, "d", (11, 22)),
]


@pytest.fixture(params=STORE_PARAMS)
async def empty_store(
    request: pytest.FixtureRequest, store_directory: Path
) -> AsyncIterator[PassageStore]:
    store = STORES[request.param](store_directory / "collection")
    await store.open(COLLECTION)
    yield store
    await store.close()


@pytest.fixture
async def store(empty_store: PassageStore) -> PassageStore:
    await empty_store.upsert(embed(CORPUS), durable=False)
    return empty_store


def where(
    raw: Any, languages: set[str] | None = None, fields: Mapping[str, FieldKind] = FIELDS
) -> PassageFilter:
    return PassageFilter(
        None if languages is None else frozenset(languages), parse_filter(raw, fields)
    )


PRO = where({"must": [{"key": "product", "match": {"value": "pro"}}]})


async def reopen(store: PassageStore, fields: Mapping[str, FieldKind]) -> None:
    await store.close()
    await store.open(replace(COLLECTION, fields=fields))


class TestFiltering:
    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            ({"must": [{"key": "product", "match": {"any": ["team", "free"]}}]}, "ac"),
            ({"must": [{"key": "year", "range": {"gte": 2020.5}}]}, "c"),
            ({"must": [{"key": "open", "match": {"value": False}}]}, "c"),
            ({"must_not": [{"key": "open", "match": {"value": False}}]}, "abd"),
            (
                {"should": [{"key": "price", "range": {"lt": 2}}, {"is_empty": {"key": "year"}}]},
                "bd",
            ),
            ({"must": [{"key": "document_id", "match": {"value": "d"}}]}, "d"),
            ({"must": [{"key": "parallel_id", "match": {"value": "sea"}}]}, "ab"),
            ({"must": [{"key": "language", "match": {"except": ["en"]}}]}, "b"),
            ({}, "abcd"),
        ],
    )
    async def test_only_eligible_passages_are_found_and_counted(self, store, raw, expected):
        condition = where(raw)
        vector = FakeEncoder().encode_queries(["the sea"])[0]
        [hits] = await store.search([NearestQuery(vector, 10, condition)])
        found = sorted(hit.passage.id for hit in hits)
        assert "".join(sorted({passage_id[0] for passage_id in found})) == expected
        assert await store.count(condition) == len(found)
        assert sum((await store.languages(condition)).values()) == len(found)

    async def test_languages_and_condition_are_joined(self, store):
        english = replace(PRO, languages=frozenset({"en"}))
        assert [passage.id for passage in await store.scan(limit=9, where=english)] == ["a"]
        assert await store.languages(english) == {"en": 1}
        assert await store.count(replace(PRO, languages=frozenset())) == 0

    async def test_a_replaced_passage_is_filtered_by_its_new_metadata(self, store):
        changed = replace(CORPUS[0], metadata={"product": "free"})
        await store.upsert(embed([changed]), durable=False)
        assert [passage.id for passage in await store.scan(limit=9, where=PRO)] == ["b"]

    async def test_languages_under_a_condition_follow_every_write(self, store):
        before = await store.languages(PRO)
        assert await store.languages(PRO) == before == {"de": 1, "en": 1}
        await store.upsert(embed([replace(CORPUS[0], metadata={"product": "free"})]), durable=False)
        assert await store.languages(PRO) == {"de": 1}
        await store.delete(["b"])
        assert await store.languages(PRO) == {}

    async def test_document_and_span_come_back_as_they_were_given(self, store):
        assert await store.get(["d#2"]) == [CORPUS[4]]


class TestListing:
    async def test_pages_meet_every_passage_once_in_an_order_that_stays(self, empty_store):
        await empty_store.upsert(passages_of(random_unit_vectors(150)), durable=False)
        everything = [p.id for p in await empty_store.scan(limit=1000)]
        assert sorted(everything) == [f"p{n:04d}" for n in range(150)]
        paged: list[str] = []
        while page := await empty_store.scan(limit=37, after=paged[-1] if paged else None):
            paged += [passage.id for passage in page]
        assert paged == everything

    async def test_a_page_goes_on_after_a_passage_that_is_gone_by_now(self, store):
        first, second, *rest = [passage.id for passage in await store.scan(limit=9)]
        await store.delete([first, second])
        assert [passage.id for passage in await store.scan(limit=9, after=second)] == rest
        assert [passage.id for passage in await store.scan(limit=9, after=first)] == rest

    async def test_only_eligible_passages_are_listed(self, store):
        assert {passage.id for passage in await store.scan(limit=9, where=PRO)} == {"a", "b"}
        [first] = await store.scan(limit=1, where=PRO)
        [second] = await store.scan(limit=9, where=PRO, after=first.id)
        assert {first.id, second.id} == {"a", "b"}
        assert await store.scan(limit=9, where=PRO, after=second.id) == []

    @pytest.mark.parametrize(
        ("limit", "after", "pointer"),
        [(0, None, "/limit"), (1, "", "/after"), (1, "\ud800", "/after")],
    )
    async def test_what_cannot_be_listed_is_an_error(self, store, limit, after, pointer):
        with pytest.raises(InvalidInputError) as caught:
            await store.scan(limit=limit, after=after)
        assert caught.value.pointer == pointer


class TestFacets:
    async def test_values_are_counted_most_frequent_first_then_smaller(self, store):
        facets = await store.facets("product", limit=10)
        assert list(facets.items()) == [("pro", 2), ("free", 1), ("team", 1)]
        assert list((await store.facets("year", limit=10)).items()) == [(2020, 1), (2021, 1)]
        assert list((await store.facets("open", limit=9)).items()) == [(False, 1), (True, 1)]
        assert list(await store.facets("open", limit=9)) == [False, True]
        assert list((await store.facets("document_id", limit=9)).items()) == [("d", 2)]

    async def test_a_limit_keeps_the_first_values(self, empty_store):
        metadata: list[dict[str, Any]] = [{"product": f"v{n % 7:02d}"} for n in range(60)]
        embedded = [
            replace(e, passage=replace(e.passage, metadata=m))
            for e, m in zip(passages_of(random_unit_vectors(60)), metadata, strict=True)
        ]
        await empty_store.upsert(embedded, durable=False)
        everything = list((await empty_store.facets("product", limit=100)).items())
        assert everything[0] == ("v00", 9)
        assert len(everything) == 7
        for limit in range(1, 7):
            some = await empty_store.facets("product", limit=limit)
            assert list(some.items()) == everything[:limit]

    async def test_only_eligible_passages_are_counted(self, store):
        assert await store.facets("product", limit=9, where=PRO) == {"pro": 2, "team": 1}
        english = PassageFilter(frozenset({"en"}))
        assert await store.facets("language", limit=9, where=english) == {"en": 4}

    async def test_values_of_deleted_passages_are_forgotten(self, store):
        await store.delete(["c"])
        assert "free" not in await store.facets("product", limit=9)

    @pytest.mark.parametrize(
        ("field", "limit", "error"),
        [
            ("colour", 1, MalformedFilterError),
            ("price", 1, MalformedFilterError),
            ("product", 0, InvalidInputError),
        ],
    )
    async def test_what_cannot_be_counted_is_an_error(self, store, field, limit, error):
        with pytest.raises(error):
            await store.facets(field, limit=limit)


class TestDeleting:
    async def test_eligible_passages_are_deleted_and_counted(self, store):
        assert await store.delete_where(PRO) == 2
        assert await store.count() == 3
        assert await store.get(["a", "b", "c"]) == [CORPUS[2]]
        assert await store.delete_where(PRO) == 0

    async def test_another_number_than_expected_deletes_nothing(self, store):
        with pytest.raises(CountMismatchError) as caught:
            await store.delete_where(PRO, expected=3)
        assert (caught.value.expected, caught.value.found) == (3, 2)
        assert await store.count() == len(CORPUS)
        assert await store.delete_where(PRO, expected=2) == 2

    async def test_more_passages_than_one_chunk_are_deleted(self, empty_store):
        await empty_store.upsert(passages_of(random_unit_vectors(300)), durable=False)
        await empty_store.upsert(embed(CORPUS), durable=False)
        plain = where({"must": [{"is_empty": {"key": "parallel_id"}}]})
        assert await empty_store.delete_where(plain, expected=302) == 302
        assert await empty_store.count() == 3
        assert await empty_store.delete_where(ANY_PASSAGE) == 3


class TestContentHashes:
    async def test_the_hash_of_the_last_write_comes_back(self, store):
        [one, two] = embed(CORPUS[:2])
        await store.upsert([replace(one, content_hash="x1"), two], durable=False)
        assert await store.content_hashes(["b", "missing", "a", ""]) == {"a": "x1", "b": ""}
        await store.upsert([replace(one, content_hash="x2")], durable=False)
        assert await store.content_hashes(["a"]) == {"a": "x2"}


class TestDeclaring:
    async def test_a_field_declared_later_filters_passages_that_were_there_before(self, store):
        stated: dict[str, FieldKind] = {**FIELDS, "shelf": "keyword"}
        shelved = replace(CORPUS[0], metadata={**CORPUS[0].metadata, "shelf": "top"})
        await store.upsert(embed([shelved]), durable=False)
        await reopen(store, stated)
        assert store.fields == stated
        condition = where({"must": [{"key": "shelf", "match": {"value": "top"}}]}, fields=stated)
        assert [passage.id for passage in await store.scan(limit=9, where=condition)] == ["a"]
        assert await store.facets("product", limit=1) == {"pro": 2}
        assert await store.get(["a", "c"]) == [shelved, CORPUS[2]]

    async def test_a_field_of_another_kind_reads_the_values_anew(self, empty_store):
        mixed: list[dict[str, Any]] = [{"year": 2020}, {"year": "2020"}, {"year": 2021.5}]
        stored = [
            EmbeddedPassage(replace(e.passage, metadata=m), e.vector)
            for e, m in zip(embed(CORPUS[:3]), mixed, strict=True)
        ]
        await empty_store.upsert(stored, durable=False)
        assert await empty_store.facets("year", limit=9) == {2020: 1}
        await reopen(empty_store, {"year": "keyword"})
        assert await empty_store.facets("year", limit=9) == {"2020": 1}
        floats: dict[str, FieldKind] = {"year": "float"}
        await reopen(empty_store, floats)
        late = where({"must": [{"key": "year", "range": {"gt": 2000}}]}, fields=floats)
        assert await empty_store.count(late) == 2

    async def test_a_field_that_is_declared_no_more_cannot_be_counted(self, store):
        await reopen(store, {"year": "integer"})
        with pytest.raises(MalformedFilterError, match="not a declared field"):
            await store.facets("product", limit=1)
        await reopen(store, FIELDS)
        assert await store.count(PRO) == 2
