import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.calibration.calibrator import sigmoid
from app.core.calibration.document import RankRange
from app.core.calibration.lists import HitFeatures, ServedList, background_score
from app.core.calibration.standing import language_standings
from app.core.types import FloatArray
from tests.calibrators import calibrator_content, make_calibrator
from tests.searching import RANKED

CALIBRATOR = make_calibrator()
cosines = st.floats(-1.0, 1.0)


def served(scores, languages=None, posterior=None, corpus_size=None) -> ServedList:
    return ServedList(
        scores=np.array(scores, dtype=np.float64),
        passage_languages=languages or ["en"] * len(scores),
        query_posterior={"en": 1.0} if posterior is None else posterior,
        corpus_size=corpus_size or max(len(scores), 3),
        language_sizes={},
    )


@given(
    st.lists(cosines, min_size=1, max_size=70),
    st.sampled_from([{"en": 1.0}, {"de": 1.0}, {"en": 0.5, "de": 0.3}, {}]),
    st.integers(0, 10_000_000),
)
def test_every_probability_is_finite_and_between_zero_and_one(scores, posterior, more):
    ordered = sorted(scores, reverse=True)
    result = CALIBRATOR.calibrate(
        served(ordered, posterior=posterior, corpus_size=len(scores) + more)
    )
    every = np.append(result.probability, result.answerable)
    assert np.isfinite(every).all()
    assert ((every >= 0) & (every <= 1)).all()


@given(
    cosines,
    st.floats(1e-4, 0.5),
    st.floats(-0.2, 0.9),
    st.integers(1, 10_000_000),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_probability_rises_strictly_with_the_score_all_else_equal(
    score, step, background, corpus, same
):
    hits = HitFeatures(
        score=np.array([score, score + step]),
        background=np.full(2, background),
        log_corpus=np.full(2, np.log(corpus)),
        log_language_corpus=np.zeros(2),
        log_language_rank=np.zeros(2),
        language_lead=np.zeros(2),
        language_lag=np.zeros(2),
        same=np.full(2, same),
    )
    for probability in (CALIBRATOR.hit_probability(hits), CALIBRATOR.pooled_probability(hits)):
        assert probability[0] < probability[1]


def test_the_logit_is_the_documented_formula():
    hits = HitFeatures(
        score=np.array([0.6]),
        background=np.array([0.2]),
        log_corpus=np.array([np.log(500.0)]),
        log_language_corpus=np.array([np.log(80.0)]),
        log_language_rank=np.array([np.log(2.0)]),
        language_lead=np.array([0.0]),
        language_lag=np.array([0.1]),
        same=np.array([1.0]),
    )
    logit = 12 * 0.6 - 6 * 0.2 - 0.5 * np.log(500.0) + 1.0 + 2 * 0.6 - 3.0
    expected = 0.0001 + (0.9999 - 0.0001) / (1 + np.exp(-logit))
    assert CALIBRATOR.hit_probability(hits)[0] == pytest.approx(expected, abs=1e-12)


def standings(
    scores: list[float], languages: list[str], sizes: dict[str, int] | None = None
) -> FloatArray:
    ranks = RankRange(from_rank=2, to_rank=5)
    return np.array(language_standings(np.array(scores), languages, sizes or {}, ranks))


def test_a_hit_stands_among_the_hits_of_its_own_language():
    stood = standings([0.9, 0.8, 0.6, 0.5, 0.4], ["en", "de", "en", "fr", "en"], {"de": 7, "en": 1})
    rank, lead, lag, size = stood.T
    np.testing.assert_allclose(rank, [1, 1, 2, 1, 3])
    np.testing.assert_allclose(lead, [0.3, 0.4, 0.0, 0.1, 0.0])  # alone: against the last score
    np.testing.assert_allclose(lag, [0.0, 0.0, 0.3, 0.0, 0.5])
    np.testing.assert_allclose(size, [3, 7, 3, 1, 3])  # never fewer than were found


@given(st.lists(st.tuples(cosines, st.sampled_from(["en", "de", "fr"])), min_size=6, max_size=40))
def test_a_longer_list_changes_no_standing_but_the_size(found):
    ordered = sorted(found, reverse=True)
    scores, languages = [s for s, _ in ordered], [code for _, code in ordered]
    whole = standings(scores, languages)
    part = standings(scores[:5], languages[:5])
    np.testing.assert_array_equal(whole[:5, :3], part[:, :3])


@given(st.lists(cosines, min_size=2, max_size=70), st.integers(0, 10_000))
def test_a_probability_never_rises_down_the_hits_of_a_language(found, more):
    calibrator = make_calibrator(hit=RANKED)
    languages = [("en", "de")[n % 2] for n in range(len(found))]
    listed = served(sorted(found, reverse=True), languages, {"en": 1.0}, len(found) + more)
    stated = calibrator.calibrate(listed).probability
    for start in (0, 1):
        assert (np.diff(stated[start::2]) <= 1e-12).all()


def test_an_empty_list_has_no_probability_and_is_not_answerable():
    result = CALIBRATOR.calibrate(served([], corpus_size=5))
    assert result.probability.shape == (0,)
    assert result.source == ()
    assert result.answerable == 0.0


def test_an_uncertain_query_language_is_averaged_over_its_posterior():
    scores = [0.7, 0.5, 0.3]
    languages = ["en", "de", "en"]
    mixed = CALIBRATOR.calibrate(served(scores, languages, {"en": 0.6, "de": 0.4}))
    english = CALIBRATOR.calibrate(served(scores, languages, {"en": 1.0}))
    german = CALIBRATOR.calibrate(served(scores, languages, {"de": 1.0}))
    expected = 0.6 * english.probability + 0.4 * german.probability
    np.testing.assert_allclose(mixed.probability, expected, rtol=1e-12)
    assert mixed.source == ("mixture",) * 3


def test_what_is_missing_to_one_in_the_posterior_goes_to_the_pooled_head():
    scores, languages = [0.7, 0.5], ["en", "en"]
    partly = CALIBRATOR.calibrate(served(scores, languages, {"en": 0.25}))
    known = CALIBRATOR.calibrate(served(scores, languages, {"en": 1.0}))
    unknown = CALIBRATOR.calibrate(served(scores, languages, {}))
    expected = 0.25 * known.probability + 0.75 * unknown.probability
    np.testing.assert_allclose(partly.probability, expected, rtol=1e-12)


def test_unknown_languages_are_pooled_and_say_so():
    by_query = CALIBRATOR.calibrate(served([0.7, 0.5], ["en", "de"], {}))
    by_passage = CALIBRATOR.calibrate(served([0.7, 0.5], ["und", "en"]))
    assert by_query.source == ("pooled", "pooled")
    assert by_passage.source == ("pooled", "relation:same")
    assert by_query.probability[0] == by_passage.probability[0]


def test_the_source_tells_relation_and_whether_both_languages_had_labels():
    result = CALIBRATOR.calibrate(served([0.7, 0.6, 0.5], ["en", "de", "sw"]))
    assert result.source == ("relation:same", "relation:cross", "fallback:cross")


def test_scores_and_corpus_sizes_outside_the_fit_are_marked_as_extrapolated():
    inside = CALIBRATOR.calibrate(served([0.99, 0.5, -0.9]))
    assert inside.extrapolated.tolist() == [True, False, True]
    grown = CALIBRATOR.calibrate(served([0.5, 0.4], corpus_size=20_000))
    assert grown.extrapolated.tolist() == [True, True]


def test_the_background_is_the_mean_of_its_ranks():
    scores = np.linspace(1.0, 0.0, 80)
    assert background_score(scores, RankRange(from_rank=21, to_rank=60)) == pytest.approx(
        scores[20:60].mean()
    )


def test_a_list_that_ends_early_has_its_last_score_as_background():
    scores = np.array([0.9, 0.4, 0.1])
    assert background_score(scores, RankRange(from_rank=21, to_rank=60)) == 0.1
    assert background_score(scores, RankRange(from_rank=3, to_rank=60)) == 0.1


def test_a_single_hit_takes_the_background_for_its_runner_up():
    result = CALIBRATOR.calibrate(served([0.8], corpus_size=1))
    columns = {
        "score": np.array([0.8]),
        "gap": np.array([0.0]),
        "background": np.array([0.8]),
        "log_corpus": np.array([0.0]),
        "same": np.array([1.0]),
    }
    assert result.answerable == CALIBRATOR.first_hit_probability(columns)[0]


def test_a_larger_corpus_makes_the_same_scores_less_probable():
    small = CALIBRATOR.calibrate(served([0.7, 0.5], corpus_size=100))
    large = CALIBRATOR.calibrate(served([0.7, 0.5], corpus_size=10_000))
    assert (large.probability < small.probability).all()


def test_a_feature_the_head_does_not_use_has_no_weight():
    head = make_calibrator(
        hit={"features": ["score"], "coef": [3.0], "intercept": 0.0}
    ).document.hit
    assert head.weight("score") == 3.0
    assert head.weight("same") == 0.0


@given(st.floats(-1e6, 1e6))
def test_the_sigmoid_neither_overflows_nor_leaves_the_unit_interval(logit):
    value = sigmoid(np.array([logit]))[0]
    assert 0.0 <= value <= 1.0
    assert value + sigmoid(np.array([-logit]))[0] == pytest.approx(1.0)


def test_a_calibrator_names_its_parameters_and_how_many_candidates_it_needs():
    assert len(CALIBRATOR.id) == 12
    assert CALIBRATOR.candidates == calibrator_content()["background"]["to_rank"]


def test_more_languages_than_are_remembered_are_stated_like_any_other():
    languages = [f"q{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(600)]
    scores = np.linspace(0.9, 0.1, 600)
    stated = CALIBRATOR.calibrate(served(scores, languages, {"en": 1.0}))
    assert set(stated.source) == {"fallback:cross"}
    assert CALIBRATOR.calibrate(served(scores, languages, {"en": 1.0})).source == stated.source
