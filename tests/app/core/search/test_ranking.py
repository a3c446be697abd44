import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.search.ranking import Ranking, by_probability, deepest_cut, rank
from app.core.search.types import Hit, SearchRequest
from app.core.types import Passage


def hit(name: str, score: float, probability: float | None, language: str = "en") -> Hit:
    return Hit(Passage(name, "text", language), score, probability, "pooled", extrapolated=False)


def names(ranking: Ranking) -> list[str]:
    return [ranked.passage.id for ranked in ranking.hits]


HITS = [
    hit("b", 0.9, 0.4),
    hit("a", 0.9, 0.4),
    hit("c", 0.8, 0.7, "de"),
    hit("d", 0.7, 0.2, "fr"),
]


def test_the_most_probable_comes_first_and_ties_go_by_score_then_id():
    assert names(rank(HITS, SearchRequest("q"))) == ["c", "a", "b", "d"]
    assert names(rank(HITS, SearchRequest("q", rank_by="score"))) == ["a", "b", "c", "d"]


def test_without_probabilities_the_score_orders():
    unjudged = [hit("a", 0.1, None), hit("b", 0.9, None)]
    assert names(rank(unjudged, SearchRequest("q"))) == ["b", "a"]
    assert [h.passage.id for h in by_probability(unjudged)] == ["b", "a"]


def test_preferred_languages_come_first_as_far_as_their_weight_carries():
    def order(weights: dict[str, float]) -> list[str]:
        request = SearchRequest("q", language_mode="prefer", prefer=weights)
        return names(rank(HITS, request))

    assert order({"fr": 1.0, "*": 0.5}) == ["c", "a", "b", "d"]
    assert order({"fr": 1.0, "*": 0.1}) == ["d", "c", "a", "b"]
    assert order({"en": 1.0, "*": 0.0}) == ["a", "b", "c", "d"]


def test_a_preference_shows_its_weight_and_leaves_the_probability_alone():
    request = SearchRequest("q", language_mode="prefer", prefer={"fr": 1.0})
    ranked = {h.passage.id: h for h in rank(HITS, request).hits}
    assert {name: h.probability for name, h in ranked.items()} == {
        h.passage.id: h.probability for h in HITS
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


@given(st.permutations(HITS), st.sampled_from(["probability", "score"]))
def test_the_order_does_not_depend_on_how_the_candidates_came(hits, rank_by):
    request = SearchRequest("q", rank_by=rank_by)
    assert names(rank(hits, request)) == names(rank(HITS, request))


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0, 1))
def test_a_deeper_cut_never_reaches_the_target(probabilities, target):
    deepest = deepest_cut(probabilities, target)
    means = [total / n for n, total in enumerate(itertools.accumulate(probabilities), start=1)]
    assert all(mean < target for mean in means[deepest:])
