import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.calibration.monitoring import (
    BINS,
    LEAST_IN_BIN,
    LabelSums,
    bin_of,
    calibration_statistics,
)


def labels(*pairs: tuple[float, float, int]) -> LabelSums:
    """Sums of ``count`` labels each of (p, y, count)."""
    p = np.repeat([pair[0] for pair in pairs], [pair[2] for pair in pairs])
    y = np.repeat([pair[1] for pair in pairs], [pair[2] for pair in pairs])
    return LabelSums.of(p, y)


def test_bins_are_tenths_and_certainty_belongs_to_the_last():
    assert bin_of(np.array([0.0, 0.099, 0.1, 0.55, 0.999, 1.0])).tolist() == [0, 0, 1, 5, 9, 9]


def test_what_is_promised_and_kept_has_no_error():
    found = calibration_statistics(labels((0.25, 1, 25), (0.25, 0, 75)))

    assert found.labels == 100
    assert found.ece == pytest.approx(0.0)
    assert found.mce == pytest.approx(0.0)
    assert found.expected_observed == pytest.approx(1.0)
    assert found.bias_z == pytest.approx(0.0)
    assert found.brier == pytest.approx(0.25 * 0.75)
    assert found.ece_z < 0


def test_errors_of_bins_do_not_cancel():
    found = calibration_statistics(labels((0.25, 0, 100), (0.75, 1, 100)))

    assert found.ece == pytest.approx(0.25)
    assert found.bias_z == pytest.approx(0.0)
    assert found.ece_z > 10


def test_promising_too_much_is_positive():
    found = calibration_statistics(labels((0.5, 0, 100)))

    assert found.bias_z == pytest.approx(10.0)
    assert math.isnan(found.expected_observed)
    assert found.expected == 50
    assert found.relevant == 0


def test_a_bin_with_few_labels_has_no_say_in_the_maximum():
    found = calibration_statistics(labels((0.95, 0, LEAST_IN_BIN - 1), (0.15, 0, LEAST_IN_BIN)))

    assert found.mce == pytest.approx(0.15)


def test_without_labels_nothing_is_said():
    found = calibration_statistics(LabelSums.of(np.zeros(0), np.zeros(0)))

    assert found.labels == 0
    for value in (found.ece, found.ece_z, found.mce, found.bias_z, found.brier):
        assert math.isnan(value)


def test_the_floor_is_the_error_of_a_perfect_calibrator():
    random = np.random.default_rng(7)
    p = random.beta(0.5, 2.0, 2000)
    drawn = [
        calibration_statistics(LabelSums.of(p, (random.random(2000) < p).astype(float)))
        for _ in range(400)
    ]

    assert np.mean([found.ece for found in drawn]) == pytest.approx(drawn[0].ece_floor, rel=0.05)
    assert np.mean([found.ece_z for found in drawn]) == pytest.approx(0.0, abs=0.2)
    assert np.std([found.ece_z for found in drawn]) == pytest.approx(1.0, abs=0.15)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=40), st.integers(0, 40))
def test_sums_of_parts_add_up_to_the_sums_of_the_whole(pairs, cut):
    p = np.array([pair[0] for pair in pairs], dtype=np.float64)
    y = np.array([pair[1] for pair in pairs], dtype=np.float64)

    whole = LabelSums.of(p, y)
    parts = LabelSums.of(p[:cut], y[:cut]) + LabelSums.of(p[cut:], y[cut:])

    for member in ("hits", "relevant", "probability", "variance", "brier"):
        assert getattr(whole, member).shape == (BINS,)
        assert getattr(parts, member) == pytest.approx(getattr(whole, member))
