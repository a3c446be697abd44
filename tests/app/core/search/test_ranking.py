import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.calibration.lists import CalibratedList
from app.core.calibration.standing import Standings
from app.core.search.candidates import Candidates, Statements
from app.core.search.judging import merge
from app.core.search.ranking import Ranking, by_probability, deepest_cut, rank
from app.core.search.types import Hit, SearchRequest
from app.core.types import Passage, ScoredPassage


def candidates(*rows: tuple[str, float, float | None, str]) -> Candidates:
    """Candidates with a name, a score, a probability and a language, best score first."""
    count = len(rows)
    probabilities = [p for _, _, p, _ in rows if p is not None]
    calibrated = None
    if probabilities:
        calibrated = CalibratedList(
            probability=np.array(probabilities),
            extrapolated=np.zeros(count, dtype=np.bool_),
            language_source=("pooled",) * count,
            answerable=0.5,
            background=0.1,
            standings=Standings(
                [score for _, score, _, _ in rows],
                [language for _, _, _, language in rows],
                list(range(count)),
                [1] * count,
                [score for _, score, _, _ in rows],
                [0.0] * count,
                [9] * count,
            ),
        )
    return Candidates(
        [Passage(name, "text", language) for name, _, _, language in rows],
        Statements(np.array([score for _, score, _, _ in rows]), calibrated),
    )


def shown(ranking: Ranking) -> list[Hit]:
    return ranking.page(0, len(ranking.order))


def names(ranking: Ranking) -> list[str]:
    return [hit.passage.id for hit in shown(ranking)]


HITS = candidates(
    ("a", 0.9, 0.4, "en"),
    ("b", 0.9, 0.4, "en"),
    ("c", 0.8, 0.7, "de"),
    ("d", 0.7, 0.2, "fr"),
)


def test_the_most_probable_comes_first_and_ties_go_by_score_then_id():
    assert names(rank(HITS, SearchRequest("q"))) == ["c", "a", "b", "d"]
    assert names(rank(HITS, SearchRequest("q", rank_by="score"))) == ["a", "b", "c", "d"]


def test_without_probabilities_the_score_orders():
    unjudged = candidates(("b", 0.9, None, "en"), ("a", 0.1, None, "en"))
    assert names(rank(unjudged, SearchRequest("q"))) == ["b", "a"]
    assert by_probability(unjudged) == [0, 1]
    assert [hit.probability for hit in unjudged.hits()] == [None, None]


def test_preferred_languages_come_first_as_far_as_their_weight_carries():
    def order(weights: dict[str, float]) -> list[str]:
        request = SearchRequest("q", language_mode="prefer", prefer=weights)
        return names(rank(HITS, request))

    assert order({"fr": 1.0, "*": 0.5}) == ["c", "a", "b", "d"]
    assert order({"fr": 1.0, "*": 0.1}) == ["d", "c", "a", "b"]
    assert order({"en": 1.0, "*": 0.0}) == ["a", "b", "c", "d"]


def test_a_preference_shows_its_weight_and_leaves_the_probability_alone():
    request = SearchRequest("q", language_mode="prefer", prefer={"fr": 1.0})
    ranked = {h.passage.id: h for h in shown(rank(HITS, request))}
    assert {name: h.probability for name, h in ranked.items()} == {
        h.passage.id: h.probability for h in HITS.hits()
    }
    assert (ranked["d"].language_weight, ranked["a"].language_weight) == (1.0, 0.1)


def test_what_is_left_out_is_counted_over_all_candidates():
    ranking = rank(HITS, SearchRequest("q", limit=1, min_probability=0.4))
    assert names(ranking) == ["c", "a", "b"]
    assert (ranking.below_min_probability, ranking.beyond_target_precision) == (1, 0)
    ranking = rank(HITS, SearchRequest("q", limit=1, target_precision=0.5))
    assert names(ranking) == ["c", "a", "b"]
    assert (ranking.below_min_probability, ranking.beyond_target_precision) == (0, 1)


@pytest.mark.parametrize(
    ("probabilities", "target", "deepest"),
    [
        ([], 0.5, 0),
        ([0.9, 0.5, 0.1], 0.0, 3),
        ([0.9, 0.5, 0.1], 0.5, 3),
        ([0.9, 0.5, 0.1], 0.7, 2),
        ([0.9, 0.5, 0.1], 0.95, 0),
        ([0.1, 0.9], 0.5, 2),  # an order that is not by probability may climb again
        ([0.1] * 10, 0.1, 10),
    ],
)
def test_the_cut_is_the_deepest_whose_mean_reaches_the_target(probabilities, target, deepest):
    assert deepest_cut(probabilities, target) == deepest


def test_a_page_has_the_hits_of_its_places_with_their_ranks():
    page = rank(HITS, SearchRequest("q")).page(1, 3)
    assert [(hit.rank, hit.score_rank, hit.passage.id) for hit in page] == [
        (2, 1, "a"),
        (3, 2, "b"),
    ]


FOUND = [
    ScoredPassage(Passage(name, "text"), score)
    for name, score in [("a", 0.9), ("b", 0.9), ("c", 0.8), ("d", 0.7)]
]


@given(st.permutations(FOUND), st.integers(0, 4))
def test_what_is_ranked_does_not_depend_on_how_it_was_found(found, cut):
    assert merge([found[:cut], found[cut:]]) == FOUND


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0, 1))
def test_a_deeper_cut_never_reaches_the_target(probabilities, target):
    deepest = deepest_cut(probabilities, target)
    means = [total / n for n, total in enumerate(itertools.accumulate(probabilities), start=1)]
    assert all(mean < target for mean in means[deepest:])
