"""Hybrid retrieval: what words add to what is near."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidInputError, WordsNotIndexedError
from app.core.search.candidates import Candidates, Statements, lexical_order
from app.core.search.hybrid import BY_WORDS, RANK_CONSTANT, joined
from app.core.search.hybrid import fused as fused_by
from app.core.search.judging import judge
from app.core.search.ranking import rank
from app.core.search.types import Hit, SearchRequest
from app.core.types import (
    FoundByWords,
    LanguageGuess,
    Passage,
    PassageFilter,
    PassageWithWords,
    ScoredPassage,
)
from tests.calibrators import hybrid_calibrator, make_calibrator
from tests.searching import random_passages, ranked_calibrator, searching

QUERY = "why is the tide of the sea so high"
CORPUS = 140
HYBRID = SearchRequest(QUERY, retrieval="hybrid", limit=100)
DENSE = SearchRequest(QUERY, limit=100, rank_by="score")
seeds = st.integers(0, 2**32 - 1)


def candidates(*rows: tuple[str, float, str]) -> Candidates:
    """Candidates with a name, a score and a language, in any order."""
    ordered = sorted(rows, key=lambda row: (-row[1], row[0]))
    return Candidates(
        [Passage(name, "text", language) for name, _, language in ordered],
        Statements(np.array([score for _, score, _ in ordered]), None),
    )


def fused(found: Candidates, lexical: dict[str, float], language: str | None) -> Candidates:
    """The candidates with what words say, given the lexical scores of some by id."""
    return fused_by(found, lexical_order(found.passages, lexical), language)


def ranked(found: Candidates, **options: Any) -> list[Hit]:
    ranking = rank(found, SearchRequest("q", retrieval="hybrid", **options))
    return ranking.page(0, len(ranking.order))


def order(found: Candidates) -> list[str]:
    return [hit.passage.id for hit in ranked(found)]


rows = st.lists(
    st.tuples(st.integers(0, 6).map(lambda n: n / 6), st.sampled_from(["de", "en", "und"])),
    min_size=1,
    max_size=12,
).map(lambda drawn: [(f"p{n:02}", score, language) for n, (score, language) in enumerate(drawn)])
lexical_scores = st.dictionaries(
    st.integers(0, 11).map(lambda n: f"p{n:02}"), st.integers(1, 4).map(float)
)


@given(rows, lexical_scores, st.sampled_from(["en", "fr", None]), st.randoms())
def test_the_order_does_not_depend_on_how_candidates_and_words_come(
    drawn, lexical, language, chance
):
    shuffled, words = list(drawn), list(lexical.items())
    chance.shuffle(shuffled)
    chance.shuffle(words)
    assert order(fused(candidates(*shuffled), dict(words), language)) == order(
        fused(candidates(*drawn), lexical, language)
    )


@given(rows, lexical_scores)
def test_what_is_better_by_both_is_better(drawn, lexical):
    hits = ranked(fused(candidates(*drawn), lexical, None))
    for better, worse in itertools.combinations(hits, 2):
        assert not (worse.score_rank < better.score_rank and _place(worse) <= _place(better)), (
            f"{worse} is better than {better}"
        )


def _place(hit: Hit) -> float:
    return float("inf") if hit.lexical_rank is None else hit.lexical_rank


@given(rows, st.sampled_from(["en", "fr", None]))
def test_where_no_language_but_the_querys_and_no_word_is_shared_the_order_is_that_by_score(
    drawn, language
):
    found = fused(candidates(*[(name, score, "en") for name, score, _ in drawn]), {}, language)
    assert order(found) == [passage.id for passage in found.passages]
    assert {(hit.lexical_score, hit.lexical_rank) for hit in ranked(found)} == {(0.0, None)}


@given(rows, lexical_scores)
def test_passages_in_other_languages_keep_the_order_by_score_unless_they_share_words(
    drawn, lexical
):
    hits = ranked(fused(candidates(*drawn), lexical, "en"))
    foreign = [h for h in hits if h.passage.language == "de" and h.lexical_rank is None]
    assert [h.score_rank for h in foreign] == sorted(h.score_rank for h in foreign)


def test_fusion_is_the_sum_of_both_reciprocal_ranks():
    found = candidates(("a", 0.9, "en"), ("b", 0.8, "en"), ("c", 0.7, "en"))
    second, third, first = ranked(fused(found, {"b": 3.5, "c": 3.5}, "en"))
    assert (first.passage.id, second.passage.id, third.passage.id) == ("a", "b", "c")
    assert (first.lexical_score, first.lexical_rank) == (0.0, None)
    assert (second.lexical_rank, third.lexical_rank) == (1, 2)
    assert first.fusion == 1 / (RANK_CONSTANT + 1)
    assert second.fusion == 1 / (RANK_CONSTANT + 2) + 1 / (RANK_CONSTANT + 1)
    assert third.fusion == 1 / (RANK_CONSTANT + 3) + 1 / (RANK_CONSTANT + 2)


def test_in_another_language_the_rank_by_score_stands_in_for_words():
    rows = (("foreign", 0.9, "de"), ("here", 0.8, "en"), ("far", 0.7, "de-AT"), ("code", 0.6, "de"))
    found = candidates(*rows)
    by_id = {h.passage.id: h for h in ranked(fused(found, {"code": 9.0}, "en"))}
    assert by_id["foreign"].fusion == 2 / (RANK_CONSTANT + 1)
    assert by_id["here"].fusion == 1 / (RANK_CONSTANT + 2)
    assert by_id["far"].fusion == 2 / (RANK_CONSTANT + 3)
    assert by_id["code"].fusion == 1 / (RANK_CONSTANT + 4) + 1 / (RANK_CONSTANT + 1)
    unknown = {h.passage.id: h for h in ranked(fused(found, {}, None))}
    assert unknown["foreign"].fusion == 1 / (RANK_CONSTANT + 1)


def test_equal_fusion_goes_by_score():
    hits = ranked(fused(candidates(("b", 0.9, "en"), ("a", 0.8, "en")), {"a": 2.0, "b": 1.0}, "en"))
    assert hits[0].fusion == hits[1].fusion
    assert [h.passage.id for h in hits] == ["b", "a"]


def test_what_both_ways_find_is_a_candidate_once():
    near, both, far = (Passage(name, "text") for name in ("near", "both", "far"))
    nearest = [ScoredPassage(near, 0.9), ScoredPassage(both, 0.5)]
    found = FoundByWords(
        [PassageWithWords(far, 0.6, 4.0), PassageWithWords(both, 0.5, 2.0)], {"near": 1.0}
    )
    together, lexical = joined(nearest, found)
    assert together == [ScoredPassage(near, 0.9), ScoredPassage(far, 0.6), nearest[1]]
    assert lexical == {"near": 1.0, "far": 4.0, "both": 2.0}


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_every_score_is_the_cosine_of_a_search_by_vector_and_no_probability_is_stated(seed):
    async def compare() -> None:
        passages = random_passages(seed, CORPUS)
        async with searching(passages, calibrator=ranked_calibrator(), words=True) as opened:
            every = SearchRequest(QUERY, limit=100, candidates=1000, rank_by="score")
            first = await opened.service.search(every)
            second = await opened.service.search(
                SearchRequest(QUERY, limit=100, offset=100, candidates=1000, rank_by="score")
            )
            scores = {h.passage.id: h.score for h in [*first.hits, *second.hits]}
            found = await opened.service.search(HYBRID)
            assert found.hits
            assert all(h.score == pytest.approx(scores[h.passage.id]) for h in found.hits)
            assert {(h.probability, h.probability_source) for h in found.hits} == {
                (None, "uncalibrated")
            }

    asyncio.run(compare())


async def test_a_passage_that_only_its_words_bring_is_found():
    crowd = [Passage(f"sea{n:03}", "the tide of the sea so high", "en") for n in range(150)]
    rare = Passage("rare", "bread yeast wheel tube hole E1047 " * 4, "en")
    async with searching([*crowd, rare], words=True) as opened:
        query = "the tide of the sea so high E1047"
        dense = await opened.service.search(SearchRequest(query, limit=100))
        hybrid = await opened.service.search(SearchRequest(query, retrieval="hybrid", limit=100))
        assert "rare" not in {h.passage.id for h in dense.hits}
        by_id = {h.passage.id: h for h in hybrid.hits}
        assert by_id["rare"].lexical_rank == 1
        assert by_id["rare"].score < min(h.score for h in dense.hits)
        assert hybrid.candidates == 101
        assert hybrid.relation == "gte"


async def test_what_is_taken_by_words_is_limited():
    words = [Passage(f"w{n:03}", "zebra " + "bread yeast wheel " * 3, "en") for n in range(200)]
    near = [Passage(f"n{n:03}", "zebra tide sea moon high", "en") for n in range(100)]
    async with searching([*words, *near], words=True) as opened:
        query = SearchRequest("zebra tide sea moon high", retrieval="hybrid", limit=100)
        found = await opened.service.search(query)
        assert 100 <= found.candidates <= 100 + BY_WORDS


async def test_rank_by_score_orders_by_cosine():
    async with searching(random_passages(3, CORPUS), words=True) as opened:
        by_score = SearchRequest(QUERY, retrieval="hybrid", limit=100, rank_by="score")
        found = await opened.service.search(by_score)
        cosines = [h.score for h in found.hits]
        assert cosines == sorted(cosines, reverse=True)


async def test_filters_hold_for_what_is_found_by_words():
    async with searching(random_passages(4, CORPUS), words=True) as opened:
        german = frozenset({"de"})
        found = await opened.service.search(
            SearchRequest(QUERY, retrieval="hybrid", where=PassageFilter(languages=german))
        )
        assert {h.passage.language for h in found.hits} == {"de"}


async def test_pages_of_a_cursor_are_those_of_one_answer():
    async with searching(random_passages(5, CORPUS), words=True) as opened:
        whole = await opened.service.search(HYBRID)
        cursor: str | None = None
        pages: list[Hit] = []
        for _ in range(10):
            page = await opened.service.search(
                SearchRequest(QUERY, retrieval="hybrid", limit=10, cursor=cursor)
            )
            pages += page.hits
            cursor = page.next_cursor
        assert [h.fusion for h in pages] == [h.fusion for h in whole.hits]
        assert [h[:2] for h in pages] == [h[:2] for h in whole.hits]
        assert {h.lexical_score for h in pages} != {None}


async def test_dense_and_hybrid_searches_of_one_batch_are_answered_as_if_alone():
    async with searching(
        random_passages(6, CORPUS), calibrator=make_calibrator(), words=True
    ) as opened:
        alone = [(await opened.service.search(request)).hits for request in (DENSE, HYBRID)]
        together = await opened.service.search_many([DENSE, HYBRID])
        for answer, hits in zip(together, alone, strict=True):
            assert not isinstance(answer, Exception)
            assert list(answer.hits) == list(hits)
        assert {h.lexical_score for h in alone[0]} == {None}


async def test_the_answer_says_that_no_calibrator_fits_and_is_not_watched_for_bias():
    async with searching(
        random_passages(7, CORPUS), calibrator=make_calibrator(), words=True
    ) as opened:
        found = await opened.service.search(HYBRID)
        assert [warning.code for warning in found.warnings] == ["no_hybrid_calibrator"]
        assert (found.outcome, found.answerable_probability) == ("ok", None)
        assert (found.expected_relevant, found.calibrator, found.answer_threshold) == (None,) * 3
        assert opened.service.memory.window.report().answers == 0
        await opened.service.search(DENSE)
        assert opened.service.memory.window.report().answers == 1


async def test_a_shadow_does_not_judge_what_was_found_by_words():
    async with searching(random_passages(8, CORPUS), words=True) as opened:
        service = opened.service.with_calibrators(make_calibrator(), make_calibrator())
        found = await service.search(HYBRID)
        assert found.shadow is None
        assert {h.shadow_probability for h in found.hits} == {None}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"min_probability": 0.5}, "/min_probability"),
        ({"target_precision": 0.5}, "/target_precision"),
        ({"language_mode": "balance"}, "/language/mode"),
        ({"language_mode": "prefer", "prefer": {"en": 1.0}}, "/language/mode"),
    ],
)
async def test_what_needs_probabilities_is_refused(change, pointer):
    async with searching(calibrator=make_calibrator(), words=True) as opened:
        with pytest.raises(InvalidInputError, match="hybrid retrieval has none") as caught:
            await opened.service.search(SearchRequest(QUERY, retrieval="hybrid", **change))
        assert caught.value.pointer == pointer


async def test_a_collection_without_words_refuses_that_search_alone():
    async with searching(random_passages(9, 20)) as opened:
        dense, hybrid = await opened.service.search_many([DENSE, HYBRID])
        assert not isinstance(dense, Exception)
        assert isinstance(hybrid, WordsNotIndexedError)
        assert hybrid.pointer == "/retrieval"


async def test_with_a_calibrator_of_its_own_hybrid_states_probabilities_and_is_ordered_by_them():
    dense, hybrid = make_calibrator(), hybrid_calibrator()
    async with searching(
        random_passages(11, CORPUS), calibrator=dense, hybrid=hybrid, words=True
    ) as opened:
        found = await opened.service.search(HYBRID)
        stated = [hit.probability or 0.0 for hit in found.hits]
        assert 0.0 not in stated
        assert stated == sorted(stated, reverse=True)
        assert "no_hybrid_calibrator" not in {warning.code for warning in found.warnings}
        assert found.calibrator is hybrid
        assert found.expected_relevant == pytest.approx(sum(stated))
        assert found.answerable_probability is not None
        assert "uncalibrated" not in {hit.probability_source for hit in found.hits}
        alone = await opened.service.search(DENSE)
        assert alone.calibrator is dense
        assert opened.service.memory.window.report().answers == 1


async def test_of_two_alike_the_one_that_shares_words_is_more_probable():
    alike = [Passage("with", "the moon", "en"), Passage("without", "the moon", "en")]
    lexical = {"with": 3.0}
    judged = judge(
        [ScoredPassage(passage, 0.5) for passage in alike],
        calibrator=hybrid_calibrator(),
        census={"en": 2},
        query="moon",
        query_language=LanguageGuess({"en": 1.0}, "declared"),
        lexical=lexical,
    )
    with_words, without = judged.candidates.hits()
    assert (with_words.probability or 0.0) > (without.probability or 0.0)
    assert judged.words is not None
    assert judged.words.ranks.tolist() == [1, 0]


@settings(max_examples=15, deadline=None)
@given(seeds, st.sampled_from([{}, {"query_language": "en"}, {"query_language": "und"}]))
def test_the_explanation_of_a_hybrid_probability_adds_up(seed, language):
    async def compare() -> None:
        async with searching(
            random_passages(seed, CORPUS), hybrid=hybrid_calibrator(), words=True
        ) as opened:
            found = await opened.service.search(
                SearchRequest(QUERY, retrieval="hybrid", limit=100, explain="full", **language)
            )
            for hit in found.hits:
                assert hit.explanation is not None
                heads = hit.explanation.heads
                whole = sum(head.share * head.probability for head in heads)
                assert hit.probability == pytest.approx(whole, abs=1e-9)
            assert found.language.filtered_corpus_size == CORPUS

    asyncio.run(compare())


@pytest.mark.parametrize(
    "options",
    [
        {"min_probability": 0.3},
        {"target_precision": 0.3},
        {"language_mode": "balance"},
        {"language_mode": "prefer", "prefer": {"de": 1.0, "en": 0.5}},
        {"rank_by": "score"},
    ],
)
async def test_with_a_calibrator_of_its_own_everything_can_be_asked_of_hybrid(options):
    async with searching(
        random_passages(12, CORPUS), hybrid=hybrid_calibrator(), words=True
    ) as opened:
        whole = await opened.service.search(HYBRID)
        asked = await opened.service.search(
            SearchRequest(QUERY, retrieval="hybrid", limit=50, **options)
        )
        stated = {hit.passage.id: hit.probability for hit in whole.hits}
        assert asked.hits
        for hit in asked.hits:
            assert hit.probability == stated.get(hit.passage.id, hit.probability)
        if "min_probability" in options:
            assert all((hit.probability or 0.0) >= 0.3 for hit in asked.hits)


async def test_other_dense_calibrators_leave_that_of_hybrid_retrieval():
    hybrid = hybrid_calibrator()
    async with searching(random_passages(13, 30), hybrid=hybrid, words=True) as opened:
        service = opened.service.with_calibrators(make_calibrator(), make_calibrator())
        found = await service.search(HYBRID)
        assert found.calibrator is hybrid
        assert found.shadow is None
