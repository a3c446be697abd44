from __future__ import annotations

import math

import pytest

from app.cli.demonstration.evaluation import (
    JudgedAnswer,
    JudgedHit,
    agree,
    evaluate,
    gibberish,
    quartiles,
    rank,
    reciprocal_rank,
    reliability,
)


def hit(probability: float | None, relevant: bool = False, same: bool = True) -> JudgedHit:
    return JudgedHit(probability, relevant, same)


SECOND_IS_RIGHT = JudgedAnswer(
    "answerable", "de", 0.8, [hit(0.9), hit(0.6, True, False), hit(0.5, True), hit(0.0)]
)
FIRST_IS_RIGHT = JudgedAnswer("answerable", "en", 0.9, [hit(0.7, True), hit(0.3, False, False)])
NOTHING_IS_RIGHT = JudgedAnswer("unanswerable", "en", 0.2, [hit(0.25), hit(0.05, False, False)])
NONSENSE = JudgedAnswer("gibberish", "", 0.1, [hit(0.15, False, False)])


def test_reciprocal_rank_is_that_of_the_first_relevant_hit_and_0_without():
    assert reciprocal_rank(SECOND_IS_RIGHT.hits) == 0.5
    assert reciprocal_rank(NOTHING_IS_RIGHT.hits) == 0.0
    assert reciprocal_rank([]) == 0.0


def test_ranking_averages_over_questions_and_hits():
    ranking = rank([SECOND_IS_RIGHT, FIRST_IS_RIGHT])
    assert ranking.questions == 2
    assert ranking.hit_at_1 == 0.5
    assert ranking.mean_reciprocal_rank == 0.75
    assert ranking.cross_language_share == pytest.approx(2 / 6)
    assert rank([]).hit_at_1 == 0.0


def test_agreement_compares_the_sum_of_probabilities_with_the_relevant_hits():
    agreement = agree(SECOND_IS_RIGHT.hits)
    assert (agreement.hits, agreement.observed) == (4, 2)
    assert agreement.expected == pytest.approx(2.0)
    assert agreement.ratio == pytest.approx(1.0)
    assert agree(NOTHING_IS_RIGHT.hits).ratio is None


def test_reliability_bins_hold_their_lower_bound_and_the_last_one_both():
    bins = reliability([hit(0.0), hit(0.05), hit(0.07, True), hit(0.8, True), hit(1.0)])
    assert [(b.low, b.high, b.hits) for b in bins] == [
        (0.0, 0.05, 1),
        (0.05, 0.1, 2),
        (0.8, 1.0, 2),
    ]
    assert bins[1].stated == pytest.approx(0.06)
    assert [b.found for b in bins] == [0.0, 0.5, 0.5]


def test_quartiles_are_interpolated():
    five = quartiles([4.0, 1.0, 2.0, 3.0])
    assert (five.count, five.lowest, five.lower, five.median) == (4, 1.0, 1.75, 2.5)
    assert (five.upper, five.highest) == (3.25, 4.0)


def test_the_report_keeps_kinds_languages_and_relations_apart():
    report = evaluate([SECOND_IS_RIGHT, FIRST_IS_RIGHT, NOTHING_IS_RIGHT, NONSENSE])
    assert report.ranking.questions == 2
    assert {k: r.hit_at_1 for k, r in report.ranking_by_language.items()} == {"de": 0.0, "en": 1.0}
    counts = {name: (a.hits, a.observed) for name, a in report.agreement.items()}
    assert counts == {
        "all": (8, 3),
        "same": (5, 2),
        "cross": (3, 1),
        "answerable": (6, 3),
        "unanswerable": (2, 0),
        "gibberish": (1, 0),
    }
    assert math.isclose(report.agreement["all"].expected, 3.3)
    assert sum(row.hits for row in report.reliability) == 8
    assert report.top_probability["answerable"].median == pytest.approx(0.8)
    assert report.top_probability["unanswerable"].median == 0.25
    assert report.answerable_probability["gibberish"].highest == 0.1


def test_without_probabilities_only_the_ranking_is_reported():
    report = evaluate([JudgedAnswer("answerable", "de", None, [hit(None, True)])])
    assert report.ranking.hit_at_1 == 1.0
    assert not report.agreement
    assert not report.reliability
    assert not report.top_probability
    assert not report.answerable_probability


def test_gibberish_is_reproducible_words_of_latin_letters():
    texts = gibberish(50)
    assert texts == gibberish(50)
    assert texts != gibberish(50, seed=1)
    assert len(set(texts)) == 50
    for text in texts:
        words = text.split(" ")
        assert 3 <= len(words) <= 6
        assert all(3 <= len(word) <= 10 and word.isascii() and word.isalpha() for word in words)
