import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.languages.statistics import (
    advantages,
    chi_squared_tail,
    kruskal_wallis,
    mean,
    mid_ranks,
    symmetric_z,
    z_threshold,
)


def test_the_first_of_several_translations_has_the_whole_advantage():
    assert advantages({"de": 1, "en": 7, "fr": 40}) == {"de": 1.0, "en": 0.0, "fr": -1.0}
    assert advantages({"de": 5, "en": 5}) == {"de": 0.0, "en": 0.0}


@given(st.dictionaries(st.text(max_size=2), st.integers(1, 9), min_size=2, max_size=8))
def test_advantages_cancel_out(ranks):
    found = advantages(ranks)
    assert sum(found.values()) == pytest.approx(0.0, abs=1e-12)
    assert all(-1.0 <= advantage <= 1.0 for advantage in found.values())


def test_z_grows_with_the_evidence_and_never_beyond_its_amount():
    assert symmetric_z([]) == 0.0
    assert symmetric_z([0.0, 0.0]) == 0.0
    assert symmetric_z([0.3] * 16) == pytest.approx(4.0)
    assert symmetric_z([1.0, -1.0, 0.5]) == pytest.approx(0.5 / 1.5)


def test_chance_exceeds_the_threshold_no_more_often_than_stated():
    # The bound must hold for any magnitudes; few large ones among many small ones are the worst.
    rng = np.random.default_rng(5)
    magnitudes = np.array([1.0] * 3 + [0.05] * 30)
    signs = rng.choice([-1.0, 1.0], size=(20_000, magnitudes.size))
    z = np.array([symmetric_z(row) for row in signs * magnitudes])
    for false_alarms in (0.2, 0.05, 0.01):
        threshold = z_threshold(1, false_alarms=false_alarms)
        assert np.mean(np.abs(z) >= threshold) <= false_alarms
    assert z_threshold(20, false_alarms=0.01) > z_threshold(1, false_alarms=0.01)
    assert math.isfinite(z_threshold(0, false_alarms=0.01))


# Values of scipy 1.17.1: scipy.stats.kruskal and scipy.stats.chi2.sf.
@pytest.mark.parametrize(
    ("samples", "h", "p"),
    [
        ([[1, 2, 3], [4, 5, 6]], 3.857142857142854, 0.049534613435626915),
        ([[1, 1, 2, 8], [2, 3, 3, 9, 9], [101, 7, 101]], 5.481405693950188, 0.06452497976511581),
        ([[4, 9], [4, 4], [1, 9], [2, 2, 2]], 3.495495495495496, 0.3213468100340564),
    ],
)
def test_kruskal_wallis_agrees_with_scipy(samples, h, p):
    found = kruskal_wallis([np.array(sample, dtype=float) for sample in samples])
    assert found == pytest.approx((h, p), rel=1e-10)


@pytest.mark.parametrize("samples", [[], [[1.0, 2.0]], [[3.0], [3.0, 3.0]]])
def test_where_nothing_differs_there_is_nothing_to_find(samples):
    assert kruskal_wallis([np.array(sample) for sample in samples]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("x", "degrees", "tail"),
    [
        (0.0, 3, 1.0),
        (0.5, 1, 0.47950012218695337),
        (3.84, 1, 0.05004352124870519),
        (7.0, 2, 0.0301973834223185),
        (9.9, 3, 0.019435580728320245),
        (25.0, 10, 0.005345505487134069),
        (40.0, 11, 3.577512452765525e-05),
        (200.0, 6, 1.8976107553682236e-40),
    ],
)
def test_the_chi_squared_tail_agrees_with_scipy(x, degrees, tail):
    assert chi_squared_tail(x, degrees) == pytest.approx(tail, rel=1e-10)


def test_equal_values_share_the_mean_of_their_ranks():
    assert mid_ranks(np.array([5.0, 1.0, 5.0, 9.0])).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_the_mean_of_nothing_is_not_known():
    assert mean([]) is None
    assert mean([1.0, 2.0]) == 1.5
