import numpy as np
import pytest

from training.metrics.bootstrap import macro_mean

pytestmark = pytest.mark.training


def test_a_macro_mean_weighs_every_group_the_same():
    values = np.array([1.0, 1.0, 1.0, 0.0])
    groups = np.array(["en", "en", "en", "de"])
    assert macro_mean(values, groups, np.arange(4), replicates=10).value == pytest.approx(0.5)


def test_observations_that_are_not_numbers_are_left_out():
    values = np.array([1.0, np.nan, 0.0])
    groups = np.array(["en", "en", "de"])
    assert macro_mean(values, groups, np.arange(3), replicates=10).value == pytest.approx(0.5)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        centres = rng.normal(0.5, 0.2, 60)
        values = (centres[:, None] + rng.normal(0, 0.05, (60, 4))).ravel()
        clusters = np.repeat(np.arange(60), 4)
        groups = np.full(240, "en")
        found = macro_mean(values, groups, clusters, replicates=200, seed=seed)
        covered += found.low <= 0.5 <= found.high
    assert 85 <= covered <= 100


def test_a_seed_makes_the_interval_repeatable():
    values, groups = np.random.default_rng(0).random(50), np.full(50, "en")
    first = macro_mean(values, groups, np.arange(50), seed=4)
    assert first == macro_mean(values, groups, np.arange(50), seed=4)
    assert first != macro_mean(values, groups, np.arange(50), seed=5)
