"""A calibrator of one's own: what it learns, what it refuses, and that it keeps the laws."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.calibration.assess import STATISTICS, Sample, assess, reliability
from app.core.calibration.calibrator import Calibrator, sigmoid
from app.core.calibration.document import CalibratorDocument, parse_calibrator
from app.core.calibration.judged import JudgedHits
from app.core.calibration.lists import HitFeatures
from app.core.calibration.refit import refit
from app.core.errors import CalibrationError
from tests.calibrators import PIECES, make_calibrator, measured_content
from tests.searching import RANKED, ranked_calibrator

BASE = make_calibrator()


def judged(
    seed: int = 1,
    queries: int = 40,
    *,
    shift: float = 0.0,
    noise: bool = False,
    unknown: int = 0,
    down: float = 0.0,
    base: Calibrator = BASE,
) -> JudgedHits:
    """Ten hits a query, relevant as the base calibrator says after a shift of its logit."""
    rng = np.random.default_rng(seed)
    n = queries * 10
    score = np.sort(rng.uniform(0.1, 0.7, (queries, 10)))[:, ::-1].ravel()
    rank = np.tile(np.arange(1.0, 11.0), queries)
    hits = HitFeatures(
        score=score,
        background=np.repeat(rng.uniform(0.05, 0.2, queries), 10),
        log_corpus=np.full(n, np.log(5000.0)),
        log_language_corpus=np.full(n, np.log(2500.0)),
        log_language_rank=np.log(rank),
        language_lead=np.where(rank == 1.0, 0.05, 0.0),
        language_lag=np.repeat(score[::10], 10) - score,
        same=np.repeat(rng.integers(0, 2, queries), 10).astype(np.float64),
    )
    read = hits.columns(base.document.score_pieces)
    logit = base.document.hit.logit(read)
    truth = np.full(n, 0.3) if noise else sigmoid(logit + shift + down * hits.log_language_rank)
    columns = {**read, "gap": np.full(n, 0.02), "rank": rank}
    return JudgedHits(
        columns=columns,
        scores=score,
        sample=Sample(
            (rng.uniform(size=n) < truth).astype(np.float64),
            np.ones(n),
            np.repeat(np.arange(queries), 10),
        ),
        known=np.arange(n) >= unknown * 10,
        first=rank == 1.0,
        same=hits.same > 0.5,
        stated=base.hit_probability(hits),
        languages=frozenset({"de", "sw"}),
        corpus_sizes=frozenset({5000}),
    )


def written(hits: JudgedHits) -> CalibratorDocument:
    text = refit(BASE.document, hits, data="tests", data_sha256="1" * 64).text
    assert text is not None
    return parse_calibrator(json.loads(text))


@pytest.mark.parametrize("shift", [2.0, -2.0])
def test_labels_of_a_shifted_domain_make_a_better_calibrator(shift):
    result = refit(BASE.document, judged(shift=shift), data="tests", data_sha256="1" * 64)
    assert result.verdict == "better"
    assert result.gain.low is not None
    assert result.gain.low > 0.0
    assert abs(np.log(result.after["expected_observed"].value)) < abs(
        np.log(result.before["expected_observed"].value)
    )


def test_labels_that_agree_with_the_calibrator_show_no_gain():
    result = refit(BASE.document, judged(), data="tests", data_sha256="1" * 64)
    assert result.verdict == "no better"
    assert "may be chance" in result.reason


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_refused(seed):
    result = refit(BASE.document, judged(seed, noise=True), data="tests", data_sha256="1" * 64)
    assert result.verdict == "not separable"
    assert result.text is None
    assert "do not separate relevant from irrelevant" in result.reason


def test_the_new_document_says_where_it_comes_from():
    document = written(judged(shift=2.0))
    assert (document.fit.source, document.fit.towards) == ("judgements", BASE.id)
    assert document.fit.queries == 40
    assert "sw" in document.fit.languages
    assert document.encoder == BASE.document.encoder
    assert document.interval is not None
    assert document.evidence is not None
    assert set(document.evidence.reliability) == {"all", "same", "cross", "rank 1"}
    assert [c.name for c in document.evidence.compared] == ["this", BASE.id]


def test_hits_of_unknown_language_move_the_pooled_head_alone():
    document = written(judged(shift=2.0, unknown=40))
    assert document.hit.coef == BASE.document.hit.coef
    assert document.pooled.coef != BASE.document.pooled.coef


def test_a_base_with_every_optional_member_can_be_begun_with():
    base = make_calibrator(**measured_content())
    text = refit(base.document, judged(shift=2.0), data="tests", data_sha256="1" * 64).text
    assert text is not None
    document = parse_calibrator(json.loads(text))
    assert document.language_offsets == base.document.language_offsets


def test_the_pieces_of_the_base_stay_and_its_weights_move():
    base = make_calibrator(score_pieces=PIECES)
    result = refit(base.document, judged(shift=2.0, base=base), data="tests", data_sha256="1" * 64)
    assert result.verdict == "better"
    assert result.text is not None
    document = parse_calibrator(json.loads(result.text))
    assert document.score_pieces == base.document.score_pieces
    assert document.hit.coef != base.document.hit.coef
    assert document.trained_range.score == base.document.trained_range.score


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.floats(-3.0, 3.0))
def test_whatever_is_fitted_obeys_the_laws_that_a_document_is_checked_for(seed, shift):
    result = refit(BASE.document, judged(seed, 15, shift=shift), data="t", data_sha256="1" * 64)
    assert result.text is None or parse_calibrator(json.loads(result.text))


def test_one_class_and_too_few_queries_are_refused():
    hits = judged()
    one = Sample(np.ones(400), hits.sample.weights, hits.sample.query)
    with pytest.raises(CalibrationError, match="400 of 400 judged hits are relevant"):
        refit(BASE.document, _with(hits, one), data="t", data_sha256="1" * 64)
    with pytest.raises(CalibrationError, match="belong to 3 queries; at least 10"):
        refit(BASE.document, judged(queries=3), data="t", data_sha256="1" * 64)


def test_a_fit_that_would_break_a_law_goes_only_as_far_as_the_law_allows():
    # Here the probability rises down the list, which no document may say.
    base = ranked_calibrator()
    result = refit(base.document, judged(shift=-3.0, down=3.0), data="t", data_sha256="1" * 64)
    assert result.text is not None
    document = parse_calibrator(json.loads(result.text))
    assert document.hit.weight("log_language_rank") <= 0.0
    assert document.hit.coef != base.document.hit.coef


def test_a_fit_that_no_law_allows_at_all_keeps_the_weights_that_there_were():
    coef = [9.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.5]  # the rank and the lag weigh nothing
    lawful = {**RANKED, "coef": coef}
    base = make_calibrator(hit=lawful)
    result = refit(base.document, judged(shift=-3.0, down=3.0), data="t", data_sha256="1" * 64)
    assert result.text is not None
    document = parse_calibrator(json.loads(result.text))
    assert document.hit.coef == base.document.hit.coef


def test_a_fold_that_leaves_nothing_to_fit_keeps_what_there_was():
    hits = judged()
    relevant = np.zeros(400)
    relevant[:3] = 1.0
    sample = Sample(relevant, hits.sample.weights, hits.sample.query)
    result = refit(BASE.document, _with(hits, sample), data="t", data_sha256="1" * 64)
    assert result.gain.low is not None


def _with(hits: JudgedHits, sample: Sample) -> JudgedHits:
    members = {name: getattr(hits, name) for name in hits.__slots__}
    return JudgedHits(**{**members, "sample": sample})


def test_statistics_are_those_of_a_small_example():
    p, y = np.array([0.9, 0.6, 0.2]), np.array([1.0, 0.0, 0.0])
    w = np.array([1.0, 1.0, 2.0])
    found = {name: statistic(p, y, w) for name, statistic in STATISTICS.items()}
    assert found["nll"] == pytest.approx(-(np.log(0.9) + np.log(0.4) + 2 * np.log(0.8)) / 4)
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 2 * 0.04) / 4)
    assert found["ece"] == pytest.approx((0.1 + 0.6 + 2 * 0.2) / 4)
    assert found["expected_observed"] == pytest.approx(1.9)
    assert found["auroc"] == 1.0
    assert STATISTICS["auroc"](np.full(3, 0.5), y, w) == 0.5


def test_a_weight_counts_like_that_many_hits():
    p, y = np.array([0.9, 0.6, 0.2, 0.2]), np.array([1.0, 0.0, 0.0, 0.0])
    weighted = np.array([1.0, 1.0, 2.0])
    for name, statistic in STATISTICS.items():
        assert statistic(p, y, np.ones(4)) == pytest.approx(statistic(p[:3], y[:3], weighted)), name


def test_an_interval_holds_the_value_and_is_missing_where_no_draw_has_both_kinds():
    hits = judged()
    for found in assess(hits.stated, hits.sample).values():
        assert found.low is not None
        assert found.high is not None
    single = Sample(np.array([1.0, 1.0]), np.ones(2), np.array([0, 1]))
    assert single.estimate(lambda w: float(w.sum())).low is None


def test_reliability_bins_rise_and_leave_out_what_has_no_weight():
    hits = judged()
    bins = reliability(hits.stated, hits.sample)
    assert [b.stated for b in bins] == sorted(b.stated for b in bins)
    assert sum(b.hits for b in bins) == 400
    few = Sample(np.array([1.0, 0.0]), np.array([1.0, 1.0]), np.array([0, 1]))
    assert len(reliability(np.array([0.2, 0.8]), few)) == 2
