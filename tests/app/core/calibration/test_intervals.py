"""Intervals, language offsets and the fast path: laws that hold for any calibrator."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.calibration.explanation import HitPosition, explain_hit, hit_features, score_offsets
from app.core.calibration.lists import CalibratedList, HitFeatures, ServedList, background_score
from app.core.calibration.standing import LanguageStanding
from tests.calibrators import calibrator_content, make_calibrator, measured_content
from tests.searching import RANKED

MEASURED = make_calibrator(**measured_content())
LANGUAGES = ["de", "en", "fr", "sw", "und"]

posteriors = st.sampled_from(
    [
        {"en": 1.0},
        {"de": 1.0},
        {"sw": 1.0},
        {"de": 0.5, "en": 0.3, "fr": 0.1},
        {"fr": 0.4, "sw": 0.6},
        {"en": 0.2},
        {"en": 0.0},
        {},
    ]
)
scores = st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=70).map(
    lambda values: sorted(values, reverse=True)
)


@st.composite
def served_lists(draw) -> ServedList:
    ordered = draw(scores)
    languages = st.lists(st.sampled_from(LANGUAGES), min_size=len(ordered), max_size=len(ordered))
    return ServedList(
        scores=np.array(ordered),
        passage_languages=draw(languages),
        query_posterior=draw(posteriors),
        corpus_size=len(ordered) + draw(st.integers(0, 10_000_000)),
        language_sizes=draw(st.dictionaries(st.sampled_from(LANGUAGES), st.integers(0, 10_000))),
    )


def covariance(features: int, scale: float) -> list[list[float]]:
    return [[scale if i == j else 0.0 for j in range(i + 1)] for i in range(features + 1)]


def measured_head(content: dict[str, Any], scale: float) -> dict[str, Any]:
    return {**content, "covariance": covariance(len(content["features"]), scale)}


@settings(deadline=None)
@given(served_lists())
def test_an_interval_holds_its_probability_and_lies_between_zero_and_one(served):
    stated = MEASURED.calibrate(served)
    assert stated.interval is not None
    low, high = stated.interval
    assert ((low >= 0.0) & (low <= stated.probability)).all()
    assert ((high <= 1.0) & (high >= stated.probability)).all()
    assert 0.0 <= stated.answerable <= 1.0


@settings(deadline=None)
@given(served_lists())
def test_the_parts_of_an_explanation_add_up_whatever_the_languages(served):
    stated = MEASURED.calibrate(served).probability
    standings = MEASURED.calibrate(served).standings.each()
    background = background_score(served.scores, MEASURED.document.background)
    for index, language in enumerate(served.passage_languages):
        position = HitPosition(
            score=float(served.scores[index]),
            language=language,
            standing=standings[index],
            background=background,
            corpus_size=served.corpus_size,
            query_posterior=served.query_posterior,
        )
        heads = explain_hit(MEASURED, position, full=True).heads
        assert sum(head.share for head in heads) == pytest.approx(1.0)
        assert sum(h.share * h.probability for h in heads) == pytest.approx(stated[index])


@settings(deadline=None)
@given(served_lists(), st.floats(1e-3, 0.5))
def test_a_list_is_calibrated_as_its_hits_are_one_by_one(served, rise):
    calibrator = make_calibrator()
    n = len(served.scores)
    background = np.full(n, background_score(served.scores, calibrator.document.background))
    lead = np.array([entry.lead for entry in calibrator.calibrate(served).standings.each()])
    for same, language in ((1.0, "en"), (0.0, "de")):
        alike = ServedList(served.scores, ["en"] * n, {language: 1.0}, served.corpus_size, {})
        hits = HitFeatures(
            score=served.scores,
            background=background,
            log_corpus=np.full(n, np.log(served.corpus_size)),
            log_language_corpus=np.log(np.full(n, n)),
            log_language_rank=np.log(np.arange(1, n + 1)),
            language_lead=lead,
            language_lag=served.scores[0] - served.scores,
            same=np.full(n, same),
        )
        stated = calibrator.calibrate(alike).probability
        np.testing.assert_allclose(stated, calibrator.hit_probability(hits), rtol=1e-9)
        higher = replace(hits, score=served.scores + rise)
        assert (calibrator.hit_probability(higher) > stated * (1 - 1e-12)).all()


def only(language: str, query: str) -> ServedList:
    scores = np.array([0.6, 0.5, 0.1])
    return ServedList(scores, [language] * 3, {query: 1.0}, 1000, {})


@given(served_lists(), st.integers(1, 200), st.floats(0.0, 0.3))
def test_what_is_stated_of_a_hit_is_the_same_to_the_last_bit_in_a_longer_list(served, more, drop):
    """A list that reaches the last background rank says the same however far it goes on."""
    depth = MEASURED.candidates
    last = float(served.scores[-1])
    first = np.concatenate([served.scores, np.full(max(depth - len(served.scores), 0), last)])
    whole = np.concatenate([first, last - drop * np.arange(1, more + 1) / more])
    languages = (*served.passage_languages, *["de", "und", "fr"] * 200)[: len(whole)]
    size = dict.fromkeys(languages, 10_000)
    posterior = served.query_posterior

    def stated(n: int) -> CalibratedList:
        return MEASURED.calibrate(ServedList(whole[:n], languages[:n], posterior, 90_000, size))

    short, long = stated(len(first)), stated(len(whole))
    assert short.interval is not None
    assert long.interval is not None
    n = len(first)
    assert short.probability.tobytes() == long.probability[:n].tobytes()
    assert short.interval.tobytes() == long.interval[:, :n].tobytes()
    assert (short.answerable, short.source) == (long.answerable, long.source[:n])


def test_a_language_without_labels_has_wider_intervals():
    def width(language: str) -> float:
        interval = MEASURED.calibrate(only(language, "de")).interval
        assert interval is not None
        return float(np.subtract(*np.log(interval[::-1, 0] / (1 - interval[::-1, 0]))))

    assert width("fr") > width("en")


def test_more_uncertain_parameters_make_wider_intervals():
    def widths(scale: float) -> np.ndarray:
        content = calibrator_content()
        heads = {
            name: measured_head(content[name], scale) for name in ("hit", "pooled", "first_hit")
        }
        interval = {"level": 0.9, "method": "laplace", "clusters": "query"}
        stated = make_calibrator(**heads, interval=interval).calibrate(only("en", "en")).interval
        assert stated is not None
        return np.asarray(stated[1] - stated[0])

    assert (widths(0.1) > widths(0.01)).all()
    assert (widths(0.0) == 0.0).all()


def test_the_interval_is_the_normal_one_of_the_logit():
    content = calibrator_content()
    heads = {name: measured_head(content[name], 0.0) for name in ("pooled", "first_hit")}
    hit = measured_head({"features": ["score"], "coef": [4.0], "intercept": -2.0}, 0.04)
    interval = {"level": 0.9, "method": "laplace", "clusters": "query"}
    calibrator = make_calibrator(hit=hit, **heads, interval=interval, clip=[0.0, 1.0])
    stated = calibrator.calibrate(only("en", "en"))
    assert stated.interval is not None
    deviation = 1.6448536269514722 * np.sqrt(0.04 * 0.6**2 + 0.04)
    logits = 4.0 * 0.6 - 2.0 + deviation * np.array([-1.0, 1.0])
    np.testing.assert_allclose(stated.interval[:, 0], 1 / (1 + np.exp(-logits)), rtol=1e-12)


def test_every_feature_counts_in_the_variance():
    content = calibrator_content()
    ranked: dict[str, Any] = dict(RANKED)
    size = len(ranked["features"])
    factor = np.random.default_rng(7).normal(0.0, 0.1, (size + 1, size + 1))
    whole = factor @ factor.T
    hit = {**ranked, "covariance": [row[: n + 1].tolist() for n, row in enumerate(whole)]}
    heads = {name: measured_head(content[name], 0.01) for name in ("pooled", "first_hit")}
    interval = {"level": 0.9, "method": "laplace", "clusters": "query"}
    calibrator = make_calibrator(hit=hit, **heads, interval=interval, clip=[0.0, 1.0])
    stated = calibrator.calibrate(
        ServedList(
            np.linspace(0.7, 0.1, 40), ["en", "de"] * 20, {"en": 1.0}, 900, {"en": 600, "de": 300}
        )
    )
    assert stated.interval is not None
    logits = np.log(stated.interval / (1.0 - stated.interval))
    standings = stated.standings.each()
    background = float(np.linspace(0.7, 0.1, 40)[20:].mean())
    for index, same in ((0, True), (1, False), (6, True)):
        score = float(np.linspace(0.7, 0.1, 40)[index])
        position = HitPosition(score, "en", standings[index], background, 900, {})
        columns = hit_features([position], same=same).columns(None)
        x = np.array([*(columns[name][0] for name in ranked["features"]), 1.0])
        width = 1.6448536269514722 * np.sqrt(x @ whole @ x)
        assert logits[1, index] - logits[0, index] == pytest.approx(2.0 * width)


def test_offsets_move_the_logit_by_what_they_say():
    offsets = {
        "query": {"de": {"intercept": -0.5, "slope": 1.0}},
        "passage": {"en": {"intercept": 0.25, "slope": -0.5}},
    }
    without, with_offsets = make_calibrator(), make_calibrator(language_offsets=offsets)

    def logit(calibrator, language: str, query: str) -> float:
        low, high = calibrator.document.clip
        stated = calibrator.calibrate(only(language, query)).probability[0]
        return float(np.log((stated - low) / (high - stated)))

    for language, query, moved in (
        ("en", "de", -0.5 + 0.6 + 0.25 - 0.3),
        ("en", "fr", 0.25 - 0.3),
        ("fr", "de", -0.5 + 0.6),
        ("fr", "sw", 0.0),
    ):
        change = logit(with_offsets, language, query) - logit(without, language, query)
        assert change == pytest.approx(moved)


def test_a_score_offset_counts_what_the_languages_add():
    standing = LanguageStanding(2, 0.0, 0.1, 500)

    def position(score: float, language: str) -> HitPosition:
        return HitPosition(score, language, standing, 0.3, 5000, {"de": 1.0})

    [offset] = score_offsets(MEASURED, [position(0.7, "en")], "de")
    [cross] = explain_hit(MEASURED, position(0.7, "en"), full=True).heads
    [same] = explain_hit(MEASURED, position(0.7 - float(offset), "de"), full=True).heads
    assert same.head == "same"
    assert cross.logit == pytest.approx(same.logit)
