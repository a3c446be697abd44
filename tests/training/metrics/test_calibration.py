import numpy as np
import pytest
from netcal.metrics import ACE, ECE, MCE

from app.core.errors import CalibrationError
from training.metrics.calibration import (
    BINS,
    equal_mass_bins,
    equal_width_bins,
    measure,
    reliability_bins,
)

pytestmark = pytest.mark.training


def simulate(n: int, *, seed: int = 0, sharper: float = 1.0):
    """Labels drawn from known probabilities, stated with the logits multiplied."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1.5, 1.5, n)
    relevant = rng.random(n) < 1 / (1 + np.exp(-logit))
    return 1 / (1 + np.exp(-sharper * logit)), relevant, np.arange(n) // 20


def test_right_probabilities_are_recognised():
    measured = measure(*simulate(40_000), replicates=200)
    ratio = measured.intervals["expected_observed"]
    assert ratio.low < 1.0 < ratio.high
    assert measured.intervals["slope"].value == pytest.approx(1.0, abs=0.05)
    assert measured.intervals["intercept"].value == pytest.approx(0.0, abs=0.05)
    assert abs(measured.intervals["l2_debiased"].value) < 0.01
    assert measured.intervals["ece"].value < 0.01


def test_overconfidence_shows_in_slope_ece_and_proper_scores():
    right = measure(*simulate(20_000), replicates=50)
    wrong = measure(*simulate(20_000, sharper=2.0), replicates=50)
    assert wrong.intervals["slope"].value == pytest.approx(0.5, abs=0.05)
    for name in ("ece", "nll", "brier", "l2_debiased"):
        assert wrong.intervals[name].value > right.intervals[name].value
    assert wrong.intervals["auroc"].value == pytest.approx(
        right.intervals["auroc"].value, abs=1e-12
    )


@pytest.mark.parametrize(("name", "metric"), [("ece_equal_width", ECE), ("ace", ACE)])
def test_errors_of_equal_width_bins_equal_netcals(name, metric):
    probability, relevant, clusters = simulate(3_000)
    ours = measure(probability, relevant, clusters, replicates=2)
    theirs = metric(BINS).measure(probability, relevant.astype(int))
    assert ours.intervals[name].value == pytest.approx(theirs, abs=1e-9)


def test_the_worst_bin_equals_netcals():
    # One probability a bin of equal width, as many hits in each: both kinds of bins agree.
    probability = np.repeat((np.arange(BINS) + 0.5) / BINS, 60)
    relevant = np.random.default_rng(0).random(len(probability)) < probability**2
    ours = measure(probability, relevant, np.arange(len(probability)), replicates=2)
    theirs = MCE(BINS).measure(probability, relevant.astype(int))
    assert ours.intervals["mce"].value == pytest.approx(theirs, abs=1e-9)


def test_a_worst_bin_needs_enough_hits():
    probability, relevant, clusters = simulate(300)
    worst = measure(probability, relevant, clusters, replicates=2).intervals["mce"]
    assert worst.to_json()["value"] is None


def test_a_sharper_order_leaves_less_risk():
    probability, relevant, clusters = simulate(5_000)
    sharp = measure(probability, relevant, clusters, replicates=2)
    blunt = measure(np.full(5_000, relevant.mean()), relevant, clusters, replicates=2)
    assert sharp.intervals["aurc"].value < blunt.intervals["aurc"].value
    assert sharp.intervals["sharpness"].value == pytest.approx(probability.var())
    assert blunt.intervals["sharpness"].value == pytest.approx(0.0, abs=1e-12)


def test_the_brier_score_decomposes_when_a_bin_has_one_probability():
    probability = np.repeat([0.1, 0.4, 0.8], 100)
    relevant = np.concatenate([np.arange(100) < n for n in (20, 40, 70)])
    measured = measure(probability, relevant, np.arange(300), replicates=2)
    parts = measured.points
    assert measured.intervals["brier"].value == pytest.approx(
        parts["reliability"] - parts["resolution"] + parts["uncertainty"]
    )


def test_measures_by_hand():
    measured = measure(
        np.array([0.2, 0.2, 0.8, 0.8]),
        np.array([False, True, True, True]),
        np.arange(4),
        replicates=2,
    )
    assert measured.intervals["base_rate"].value == 0.75
    assert measured.intervals["expected_observed"].value == pytest.approx(2.0 / 3.0)
    assert measured.intervals["ece"].value == pytest.approx((0.3 + 0.2) / 2)
    assert measured.intervals["nll"].value == pytest.approx(
        -(np.log(0.8) + np.log(0.2) + 2 * np.log(0.8)) / 4
    )
    assert measured.intervals["auroc"].value == pytest.approx(2.5 / 3)


def test_auroc_counts_ties_as_one_half():
    flat = measure(np.full(10, 0.3), np.arange(10) < 4, np.arange(10), replicates=2)
    assert flat.intervals["auroc"].value == pytest.approx(0.5)


def test_intervals_of_clusters_are_wider_than_those_of_rows():
    rng = np.random.default_rng(3)
    rates = rng.random(100)
    relevant = (rng.random((100, 30)) < rates[:, None]).ravel()
    probability = np.full(3000, 0.5)
    clustered = measure(probability, relevant, np.repeat(np.arange(100), 30))
    by_row = measure(probability, relevant, np.arange(3000))

    def width(measured) -> float:
        estimate = measured.intervals["base_rate"]
        return float(estimate.high - estimate.low)

    assert width(clustered) > 2.0 * width(by_row)


def test_a_constant_probability_and_one_class_have_no_slope_and_no_ratio():
    measured = measure(np.full(5, 0.3), np.zeros(5, dtype=bool), np.arange(5), replicates=2)
    for name in ("slope", "intercept", "auroc", "expected_observed"):
        assert measured.to_json()[name] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize("bad", [[], [1.2], [-0.1], [np.nan], [np.inf]])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(CalibrationError):
        measure(
            np.array(bad, dtype=np.float64), np.zeros(len(bad), dtype=bool), np.arange(len(bad))
        )


def test_bins_hold_equal_mass_or_equal_width():
    probability = np.linspace(0.0, 1.0, 1500) ** 2
    counts = np.bincount(equal_mass_bins(probability), minlength=BINS)
    assert counts.min() > 95
    assert counts.max() < 105
    assert equal_width_bins(np.array([0.0, 0.5, 1.0])).tolist() == [0, 7, BINS - 1]


def test_a_reliability_bin_says_how_many_came_true_and_how_surely():
    probability, relevant, clusters = simulate(20_000)
    bins = reliability_bins(probability, relevant, clusters, bins=5)
    assert [hits for hits, _, _ in bins] == [4000] * 5
    stated = [value for _, value, _ in bins]
    assert stated == sorted(stated)
    for _, value, found in bins:
        assert found.low < found.value < found.high
        assert found.value == pytest.approx(value, abs=0.03)
    assert len(reliability_bins(np.full(9, 0.5), np.arange(9) < 4, np.arange(9))) == 1
