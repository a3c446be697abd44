"""Hybrid lists of the fit are those of the service: candidates, words and probabilities."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from app.adapters.edge.store import EdgePassageStore
from app.core.encoding import EncoderThread
from app.core.search.hybrid import BY_WORDS
from app.core.search.service import SearchService
from app.core.search.types import Hit, SearchRequest
from app.core.types import CollectionSpec, EmbeddedPassage, Passage, VectorArray
from tests.calibrators import hybrid_calibrator
from tests.fakes import FakeEncoder, FakeLanguageIdentifier
from tests.training.sets import parallel_set, with_random_vectors
from training.retrieval_set import RetrievalSet, SetPassage, SetQuery, assemble
from training.served import BACKGROUND, DEPTH, concatenate, serve, table_of
from training.served_hybrid import HybridHits, HybridLists, hybrid_lists, serve_hybrid, served
from training.words import WordIndex

pytestmark = pytest.mark.training

WORDS = [
    f"{stem}{end}" for stem in ("tide", "sea", "moon", "bread", "E10", "漢字") for end in "abcde"
]
LANGUAGES = ("en", "de", "fr")


def random_set(passages: int, queries: int) -> RetrievalSet:
    chance = random.Random(5)

    def text(least: int, most: int) -> str:
        # Some words are far more frequent than others.
        weights = [1.0 / (n + 1) for n in range(len(WORDS))]
        return " ".join(chance.choices(WORDS, weights, k=chance.randint(least, most)))

    pool = [
        SetPassage(f"p{n:03}", chance.choice(LANGUAGES), f"{text(3, 14)} only{n}", f"d{n}")
        for n in range(passages)
    ]
    asked = [SetQuery(f"q{n}", LANGUAGES[n % 2], text(2, 5), f"q{n}") for n in range(queries)]
    asked.append(SetQuery("wordless", "en", "zebra", "wordless"))
    return assemble("random", asked, pool, {query.id: {"p000": 1} for query in asked})


def embedded(data: RetrievalSet) -> tuple[VectorArray, VectorArray]:
    encoder = FakeEncoder()
    return (
        encoder.encode_queries([query.text for query in data.queries]),
        encoder.encode_passages([passage.text for passage in data.passages]),
    )


def everything(data: RetrievalSet) -> tuple[HybridLists, HybridHits]:
    """The lists of all queries from all passages, and a table of all their hits."""
    asked, pool = np.arange(len(data.queries)), np.arange(len(data.passages))
    lists = hybrid_lists(data, *embedded(data), WordIndex.of(data), asked=asked, pool=pool)
    full, _ = table_of(data, lists, asked=asked, pool=pool, answered=True)
    full["lexical_rank"] = lists.lexical_rank
    return lists, HybridHits(**{name: column[lists.listed] for name, column in full.items()})


async def served_by_edge(data: RetrievalSet, directory: Path) -> list[dict[str, Hit]]:
    """What a service over Qdrant Edge answers: for every query id to hit, of all passages."""
    encoder = FakeEncoder()
    store = EdgePassageStore(directory / "collection")
    spec = encoder.spec
    await store.open(CollectionSpec("test", spec.fingerprint(), spec.dim, {}, words=True))
    _, vectors = embedded(data)
    passages = [Passage(p.id, p.text, p.language) for p in data.passages]
    stored = [EmbeddedPassage(*pair) for pair in zip(passages, vectors, strict=True)]
    await store.upsert(stored, durable=False)
    thread = EncoderThread(encoder)
    service = SearchService(
        encoder=thread,
        store=store,
        calibrator=None,
        hybrid=hybrid_calibrator(),
        languages=FakeLanguageIdentifier(),
    )
    answers = []
    for query in data.queries:
        found: dict[str, Hit] = {}
        for offset in range(0, len(passages), 100):
            request = SearchRequest(
                query.text,
                retrieval="hybrid",
                query_language=query.language,
                limit=100,
                offset=offset,
                candidates=1000,
            )
            page = await service.search(request)
            found |= {hit.passage.id: hit for hit in page.hits}
        answers.append(found)
    thread.close()
    await store.close()
    return answers


async def test_candidates_words_and_probabilities_are_those_of_the_service(tmp_path):
    data = random_set(400, 12)
    answers = await served_by_edge(data, tmp_path)
    lists, table = everything(data)
    stated = iter(hybrid_calibrator().hit_probability(table.features()).tolist())
    beyond = 0
    scorer = WordIndex.of(data).within(np.arange(len(answers)), np.arange(len(data.passages)))
    lexical = scorer.against(np.arange(len(data.passages)))(slice(0, len(answers)))
    for query, found in enumerate(answers):
        for row, passage in enumerate(data.passages):
            assert found[passage.id].lexical_score == pytest.approx(lexical[query, row], rel=1e-5)
        rows = lists.rows[query][lists.listed[query]]
        ids = [data.passages[row].id for row in rows]
        by_score = sorted(found.values(), key=lambda hit: (-hit.score, hit.passage.id))
        near = [hit.passage.id for hit in by_score[: BACKGROUND.to_rank]]
        by_words = {n for n, hit in found.items() if 0 < (hit.lexical_rank or 0) <= BY_WORDS}
        assert near == ids[: len(near)]
        beyond += len(ids) - len(near)
        # The engine adds in float32: what ties up to rounding may fall to either side of the last.
        ties = {n for n in by_words ^ set(ids) - set(near) if _is_last(found[n], found)}
        assert set(ids) - ties == (set(near) | by_words) - ties
        for at, passage_id in enumerate(ids):
            hit, mine = found[passage_id], next(stated)
            assert hit.score == pytest.approx(lists.scores[query, at], abs=1e-6)
            rank = int(lists.lexical_rank[query, at])
            if rank == (hit.lexical_rank if passage_id in by_words else 0):
                assert hit.probability == pytest.approx(mine, abs=1e-5)
            else:
                assert _ties(found, hit)
    assert beyond > 100  # words have brought some that are not near


def _ties(found: dict[str, Hit], hit: Hit) -> bool:
    """Whether another hit has its lexical score, but for the last digits of float32."""
    others = [other for other in found.values() if other is not hit]
    mine = pytest.approx(hit.lexical_score, rel=1e-6)
    return any(other.lexical_score == mine for other in others)


def _is_last(hit: Hit, found: dict[str, Hit]) -> bool:
    """Whether its lexical score is that of the last passage that is taken by words."""
    lexical = sorted((other.lexical_score or 0.0 for other in found.values()), reverse=True)
    return hit.lexical_score == pytest.approx(lexical[BY_WORDS - 1], rel=1e-6)


def test_the_words_are_counted_in_the_corpus_that_is_searched():
    data = random_set(60, 4)
    words = WordIndex.of(data)
    asked, pool = np.arange(4), np.arange(0, 60, 3)
    own = words.within(asked, pool)
    of_pool = WordIndex(
        [query.text for query in data.queries], [data.passages[row].text for row in pool]
    )
    alone = of_pool.within(asked, np.arange(len(pool)))
    np.testing.assert_array_equal(
        own.against(np.arange(20))(slice(0, 4)), alone.against(np.arange(20))(slice(0, 4))
    )
    assert not np.array_equal(
        own.against(np.arange(20))(slice(0, 4)),
        words.within(asked, np.arange(60)).against(pool)(slice(0, 4)),
    )


def test_pairs_are_scored_as_in_blocks():
    data = random_set(50, 5)
    scorer = WordIndex.of(data).within(np.arange(5), np.arange(50))
    block = scorer.against(np.arange(50))(slice(0, 5))
    queries, passages = np.divmod(np.arange(250), 50)
    np.testing.assert_allclose(scorer.pairs(queries, passages), block.ravel(), rtol=1e-6)


def test_judged_are_the_first_hits_of_either_order():
    data = random_set(300, 6)
    lists, every = everything(data)
    asked, pool = np.arange(len(data.queries)), np.arange(300)
    table = serve_hybrid(
        data, *embedded(data), WordIndex.of(data), asked=asked, pool=pool, judged_only=False
    )
    for query in asked.tolist():
        mine = table.where(table.query == query)
        assert set(range(1, DEPTH + 1)) <= set(mine.rank.tolist())
        found = int(lists.lexical_rank[query].max())
        assert set(range(1, min(DEPTH, found) + 1)) <= set(mine.lexical_rank.tolist())
        assert len(mine) <= 2 * DEPTH
    assert len(table) < len(every)
    judged = serve_hybrid(data, *embedded(data), WordIndex.of(data), asked=asked, pool=pool)
    assert 0 < len(judged) < len(table)


def test_without_words_the_lists_are_dense():
    small = with_random_vectors(parallel_set(5))
    asked, pool = np.arange(3), np.arange(len(small.data.passages))
    vectors = small.queries, small.passages
    dense = served(small.data, *vectors, None, asked=asked, pool=pool)
    expected = serve(small.data, *vectors, asked=asked, pool=pool)
    np.testing.assert_array_equal(dense.score, expected.score)
    assert not isinstance(dense, HybridHits)


def test_tables_of_hybrid_lists_are_put_together_with_their_words():
    data = random_set(100, 3)
    _, table = everything(data)
    both = concatenate([table, table])
    assert isinstance(both, HybridHits)
    assert len(both.lexical_rank) == 2 * len(table)
