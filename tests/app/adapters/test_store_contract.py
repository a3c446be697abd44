"""What every passage store must do: one suite over all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.errors import (
    EncoderMismatchError,
    InvalidInputError,
    InvalidPassageError,
    StoreError,
    StoreUnavailableError,
)
from app.core.ports import KeptStore, PassageStore
from app.core.types import (
    EmbeddedPassage,
    NearestQuery,
    Passage,
    PassageFilter,
    VectorArray,
)
from tests.fakes import FAKE_COLLECTION, FAKE_DIM, FakeEncoder, embed
from tests.stores import STORE_PARAMS, STORES

CORPUS = [
    Passage("en-sea", "the sea is salt", "en", "sea", {"page": 1}),
    Passage("de-sea", "das Meer ist salzig", "de", "sea", {"page": 2, "tags": ["Wasser"]}),
    Passage("en-sun", "the sun is hot", "en", "sun"),
    Passage("fr-sun", "le soleil est chaud", "fr", "sun"),
    Passage("no-language", "zzz"),
]

SEA = PassageFilter(languages=frozenset({"en", "de"}))


@pytest.fixture(params=STORE_PARAMS)
def closed_store(request: pytest.FixtureRequest, store_directory: Path) -> KeptStore:
    return STORES[request.param](store_directory / "collection")


@pytest.fixture
async def store(closed_store: KeptStore) -> AsyncIterator[KeptStore]:
    await closed_store.open(FAKE_COLLECTION)
    yield closed_store
    await closed_store.close()


@pytest.fixture
async def corpus_store(store: KeptStore) -> KeptStore:
    await store.upsert(embed(CORPUS), durable=False)
    return store


def query(text: str, limit: int = 10, languages: set[str] | None = None) -> NearestQuery:
    where = PassageFilter(None if languages is None else frozenset(languages))
    return NearestQuery(FakeEncoder().encode_queries([text])[0], limit, where)


def random_unit_vectors(count: int) -> VectorArray:
    vectors = np.random.default_rng(7).standard_normal((count, FAKE_DIM)).astype(np.float32)
    unit: VectorArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def passages_of(vectors: VectorArray, languages: Sequence[str] = ("en",)) -> list[EmbeddedPassage]:
    return [
        EmbeddedPassage(Passage(f"p{row:04d}", f"text {row}", languages[row % len(languages)]), v)
        for row, v in enumerate(vectors)
    ]


async def ids_of(store: PassageStore, query: NearestQuery) -> list[str]:
    [hits] = await store.search([query])
    return [hit.passage.id for hit in hits]


class TestOpening:
    async def test_nothing_works_before_open_or_after_close(self, closed_store):
        async def assert_unavailable() -> None:
            calls: list[Callable[[], Any]] = [
                lambda: closed_store.upsert([], durable=False),
                lambda: closed_store.delete(["en-sea"]),
                lambda: closed_store.get(["en-sea"]),
                lambda: closed_store.search([query("sea")]),
                closed_store.count,
                closed_store.languages,
                lambda: closed_store.facets("language", limit=1),
                lambda: closed_store.scan(limit=1),
                lambda: closed_store.content_hashes([]),
                lambda: closed_store.delete_where(PassageFilter()),
                closed_store.build,
                closed_store.health,
            ]
            for call in calls:
                with pytest.raises(StoreUnavailableError):
                    await call()

        await assert_unavailable()
        await closed_store.open(FAKE_COLLECTION)
        await closed_store.close()
        await assert_unavailable()

    async def test_passages_outlive_close(self, corpus_store):
        await corpus_store.close()
        await corpus_store.open(FAKE_COLLECTION)
        assert await corpus_store.get([passage.id for passage in CORPUS]) == CORPUS
        assert (await ids_of(corpus_store, query(CORPUS[0].text)))[0] == "en-sea"

    async def test_a_second_close_does_nothing(self, store):
        await store.close()
        await store.close()

    async def test_an_open_store_cannot_be_opened_again(self, corpus_store):
        with pytest.raises(StoreError, match="already"):
            await corpus_store.open(FAKE_COLLECTION)
        assert await corpus_store.count() == len(CORPUS)

    async def test_another_encoder_is_refused_and_changes_nothing(self, corpus_store):
        await corpus_store.close()
        other = replace(FAKE_COLLECTION, encoder_id="other")
        with pytest.raises(EncoderMismatchError) as caught:
            await corpus_store.open(other)
        assert caught.value.indexed_with == FAKE_COLLECTION.encoder_id
        assert caught.value.loaded == "other"
        with pytest.raises(StoreUnavailableError):
            await corpus_store.count()
        await corpus_store.open(FAKE_COLLECTION)
        assert await corpus_store.count() == len(CORPUS)

    @pytest.mark.parametrize("change", [{"name": "other"}, {"dim": FAKE_DIM * 2}])
    async def test_another_collection_is_refused(self, store, change):
        await store.close()
        with pytest.raises(StoreError):
            await store.open(replace(FAKE_COLLECTION, **change))


class TestWriting:
    async def test_passages_come_back_as_they_were_given(self, corpus_store):
        wanted = ["fr-sun", "missing", "no-language", "en-sea"]
        passages = {passage.id: passage for passage in CORPUS}
        assert await corpus_store.get(wanted) == [
            passages["fr-sun"],
            passages["no-language"],
            passages["en-sea"],
        ]

    async def test_passages_come_back_with_their_vectors_and_hashes(self, store):
        given = [replace(e, content_hash=f"hash of {e.passage.id}") for e in embed(CORPUS)]
        await store.upsert(given, durable=False)

        asked = [embedded.passage.id for embedded in reversed(given)]
        found = await store.embedded(["missing", "", *asked])

        assert [(e.passage, e.content_hash) for e in found] == [
            (e.passage, e.content_hash) for e in reversed(given)
        ]
        for embedded, expected in zip(found, reversed(given), strict=True):
            assert embedded.vector.dtype == np.float32
            np.testing.assert_allclose(embedded.vector, expected.vector, atol=1e-6)

    async def test_metadata_keeps_every_digit_and_character(self, store):
        floats = np.random.default_rng(3).standard_normal(200).tolist()
        metadata = {
            "floats": [*floats, 5e-324, 1.7976931348623157e308, 0.1, 1.0],
            "integers": [0, -(2**63), 2**64 - 1],
            "others": [None, True, False, "", "日本語\x00\n\"'\\", {}, [], {"": {"a.b": ["x"]}}],
        }
        passage = Passage("🗝 / ключ\n'\"", "\x00 نص", "ar", "", metadata)
        await store.upsert(embed([replace(passage, text="a")]), durable=True)
        [embedded] = embed([replace(passage, text="word")])
        await store.upsert([replace(embedded, passage=passage)], durable=True)
        [found] = await store.get([passage.id])
        assert found == passage
        assert repr(found.metadata) == repr(metadata)

    async def test_a_passage_is_replaced_by_its_id(self, corpus_store):
        changed = Passage("en-sea", "the moon is cold", "es", None, {"page": 9})
        await corpus_store.upsert(embed([changed]), durable=False)
        assert await corpus_store.count() == len(CORPUS)
        assert await corpus_store.get(["en-sea"]) == [changed]
        assert (await ids_of(corpus_store, query(changed.text)))[0] == "en-sea"
        assert await ids_of(corpus_store, query("moon", languages={"es"})) == ["en-sea"]

    async def test_delete_says_how_many_existed(self, corpus_store):
        assert await corpus_store.delete(["en-sea", "missing", "fr-sun", "en-sea"]) == 2
        assert await corpus_store.delete({"en-sea"}) == 0
        assert await corpus_store.get(["en-sea", "fr-sun", "de-sea"]) == [CORPUS[1]]
        assert "en-sea" not in await ids_of(corpus_store, query("the sea"))

    async def test_ids_that_no_passage_can_have_are_not_found(self, corpus_store):
        unusable = ["", "\ud800", "x" * 1000]
        assert await corpus_store.get(unusable) == []
        assert await corpus_store.delete(unusable) == 0

    async def test_more_passages_than_fit_in_one_chunk_are_written(self, store):
        await store.upsert(passages_of(random_unit_vectors(400)), durable=True)
        assert await store.count() == 400
        assert await store.delete([f"p{row:04d}" for row in range(390)]) == 390
        assert await store.count() == 10

    async def test_nothing_is_written_by_empty_calls(self, corpus_store):
        await corpus_store.upsert([], durable=True)
        assert await corpus_store.delete([]) == 0
        assert await corpus_store.get([]) == []
        assert await corpus_store.search([]) == []
        assert await corpus_store.count() == len(CORPUS)


class TestRejectedWrites:
    async def test_a_rejected_write_changes_nothing_not_even_after_a_reload(self, corpus_store):
        [good, new] = embed([Passage("en-sea", "overwritten"), Passage("new", "never seen")])
        bad_ones = [
            replace(new, vector=np.ones(FAKE_DIM - 1, dtype=np.float32)),
            replace(new, vector=np.full(FAKE_DIM, np.nan, dtype=np.float32)),
            replace(new, vector=np.zeros(FAKE_DIM, dtype=np.float32)),
            replace(new, passage=Passage("", "text")),
            replace(new, passage=Passage("bad", "text", metadata={"x": float("nan")})),
            replace(new, passage=Passage("en-sea", "the same id twice")),
        ]
        for bad in bad_ones:
            with pytest.raises(InvalidPassageError) as caught:
                await corpus_store.upsert([good, bad, new], durable=True)
            assert caught.value.pointer.startswith("/1/")
        await self.assert_unchanged(corpus_store)
        await corpus_store.close()
        await corpus_store.open(FAKE_COLLECTION)
        await self.assert_unchanged(corpus_store)

    async def assert_unchanged(self, store: PassageStore) -> None:
        assert await store.count() == len(CORPUS)
        assert await store.get([passage.id for passage in CORPUS]) == CORPUS
        for passage in CORPUS:
            [[hit]] = await store.search([query(passage.text, limit=1)])
            assert hit.passage == passage
            assert hit.score == pytest.approx(1.0, abs=1e-6)


class TestSearching:
    async def test_scores_are_the_cosines_of_all_passages_in_descending_order(self, store):
        vectors = random_unit_vectors(300)
        await store.upsert(passages_of(vectors[1:]), durable=False)
        [hits] = await store.search([NearestQuery(vectors[0], limit=1000)])
        cosines = vectors[1:].astype(np.float64) @ vectors[0].astype(np.float64)
        order = np.argsort(-cosines)
        assert [hit.passage.id for hit in hits] == [f"p{row:04d}" for row in order]
        np.testing.assert_allclose([hit.score for hit in hits], cosines[order], atol=1e-6)

    async def test_hits_carry_the_whole_passage(self, corpus_store):
        [hits] = await corpus_store.search([query(CORPUS[1].text, limit=1)])
        assert [hit.passage for hit in hits] == [CORPUS[1]]
        assert hits[0].score == pytest.approx(1.0, abs=1e-6)

    async def test_a_score_never_leaves_the_range_of_a_cosine(self, store):
        vectors = random_unit_vectors(60)
        opposite = passages_of(-vectors)
        same = [
            replace(embedded, passage=replace(embedded.passage, id=f"same{row}"))
            for row, embedded in enumerate(passages_of(vectors))
        ]
        await store.upsert([*opposite, *same], durable=False)
        answers = await store.search([NearestQuery(vector, limit=120) for vector in vectors])
        scores = np.array([[hits[0].score, hits[-1].score] for hits in answers])
        np.testing.assert_allclose(scores, np.tile([1.0, -1.0], (60, 1)), atol=1e-6)
        assert scores.max() <= 1.0
        assert scores.min() >= -1.0

    @pytest.mark.parametrize("limit", [1, 2, 7, 19, 20, 25])
    async def test_equal_scores_are_ordered_by_id_wherever_the_limit_cuts(self, store, limit):
        twin, *others = random_unit_vectors(40)
        shuffled = np.random.default_rng(1).permutation(20)
        twins = [EmbeddedPassage(Passage(f"twin{n:02d}", "twin"), twin) for n in shuffled]
        await store.upsert([*passages_of(np.array(others)), *twins], durable=False)
        found = await ids_of(store, NearestQuery(twin, limit))
        assert found[:20] == [f"twin{n:02d}" for n in range(20)][:limit]
        assert len(found) == limit

    async def test_only_eligible_languages_are_found(self, corpus_store):
        found = await ids_of(corpus_store, query("the sea", languages={"de", "fr", "xx"}))
        assert sorted(found) == ["de-sea", "fr-sun"]
        assert await ids_of(corpus_store, query("the sea", languages=set())) == []

    async def test_every_query_of_a_batch_has_its_own_answer(self, corpus_store):
        queries = [
            query(CORPUS[0].text, limit=1),
            query(CORPUS[0].text, limit=3, languages={"fr"}),
            query(CORPUS[2].text, limit=2),
        ]
        answers = await corpus_store.search(queries)
        assert [len(hits) for hits in answers] == [1, 1, 2]
        assert [hits[0].passage.id for hits in answers] == ["en-sea", "fr-sun", "en-sun"]

    async def test_an_empty_collection_answers_with_nothing(self, store):
        assert await store.search([query("sea"), query("sun", languages={"en"})]) == [[], []]

    async def test_a_wrong_query_is_rejected(self, corpus_store):
        good = query("sea")
        wrong: dict[str, list[NearestQuery]] = {
            "/1/vector": [
                replace(good, vector=good.vector[1:]),
                replace(good, vector=good.vector * np.float32(np.nan)),
                replace(good, vector=good.vector * np.float32(0)),
            ],
            "/1/limit": [replace(good, limit=0), replace(good, limit=-1)],
        }
        for pointer, queries in wrong.items():
            for bad in queries:
                with pytest.raises(InvalidInputError) as caught:
                    await corpus_store.search([good, bad])
                assert caught.value.pointer == pointer


class TestCounting:
    async def test_passages_are_counted_by_language(self, corpus_store):
        assert await corpus_store.count() == 5
        assert await corpus_store.count(SEA) == 3
        assert await corpus_store.count(PassageFilter(frozenset({"xx"}))) == 0
        assert await corpus_store.count(PassageFilter(frozenset())) == 0

    async def test_languages_are_listed_most_frequent_first_then_by_code(self, corpus_store):
        languages = await corpus_store.languages()
        assert list(languages.items()) == [("en", 2), ("de", 1), ("fr", 1), ("und", 1)]
        assert list((await corpus_store.languages(SEA)).items()) == [("en", 2), ("de", 1)]

    async def test_languages_of_an_empty_collection_are_none(self, store):
        assert dict(await store.languages()) == {}

    async def test_counts_follow_every_write(self, corpus_store):
        assert await corpus_store.languages() == {"en": 2, "de": 1, "fr": 1, "und": 1}
        moved = [replace(CORPUS[0], language="es"), Passage("new", "new words", "es")]
        await corpus_store.upsert(embed(moved), durable=False)
        assert await corpus_store.languages() == {"es": 2, "de": 1, "en": 1, "fr": 1, "und": 1}
        assert await corpus_store.count() == 6
        assert (await corpus_store.health()).passages == 6

    async def test_languages_forget_deleted_passages(self, corpus_store):
        await corpus_store.delete(["de-sea"])
        assert "de" not in await corpus_store.languages()

    async def test_more_languages_than_a_page_are_all_listed(self, store):
        codes = [f"x-{n:03d}" for n in range(150)]
        await store.upsert(passages_of(random_unit_vectors(150), codes), durable=False)
        assert list(await store.languages()) == codes


class TestBuilding:
    async def test_few_passages_need_no_index(self, corpus_store):
        report = await corpus_store.build()
        assert (report.passages, report.indexed_passages) == (len(CORPUS), 0)
        assert await corpus_store.get([passage.id for passage in CORPUS]) == CORPUS

    async def test_health_names_the_engine_and_counts(self, corpus_store):
        health = await corpus_store.health()
        assert health.engine
        assert (health.passages, health.indexed_passages) == (len(CORPUS), 0)
