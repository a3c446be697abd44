import numpy as np
import pytest

from app.core.calibration.fit import Penalty, fit_logistic
from app.core.calibration.fit_draws import bootstrap_fit, cluster_covariance
from app.core.errors import CalibrationError
from tests.app.core.calibration.simulated import simulate


def test_draws_scatter_around_the_fit():
    x, y = simulate([6.0, -2.0], -2.0, n=3_000)
    fit = fit_logistic(x, y, penalty=Penalty(1.0))
    draws = bootstrap_fit(x, y, np.arange(3_000) // 10, penalty=Penalty(1.0), draws=60)
    assert draws.shape == (60, 3)
    mean, spread = draws.mean(axis=0), draws.std(axis=0)
    np.testing.assert_array_less(np.abs(mean - [*fit.coef, fit.intercept]), spread)
    # Fisher information of the simulated design: about .38 for these weights and rows.
    assert 0.2 < spread[0] < 0.6


def test_queries_that_share_their_luck_are_one_piece_of_evidence():
    rng = np.random.default_rng(1)
    query = np.repeat(np.arange(80), 20)
    x = rng.normal(size=(1_600, 1))
    z = x[:, 0] + rng.normal(0.0, 2.0, 80)[query]
    y = (rng.random(1_600) < 1 / (1 + np.exp(-z))).astype(float)
    by_query = bootstrap_fit(x, y, query, draws=60)[:, -1].std()
    by_row = bootstrap_fit(x, y, np.arange(1_600), draws=60)[:, -1].std()
    assert by_query > 2.0 * by_row


def test_the_same_seed_draws_the_same():
    x, y = simulate([6.0], -2.0, n=400)
    groups = np.arange(400) // 10
    first = bootstrap_fit(x, y, groups, draws=5, seed=3)
    np.testing.assert_array_equal(first, bootstrap_fit(x, y, groups, draws=5, seed=3))
    assert (first != bootstrap_fit(x, y, groups, draws=5, seed=4)).any()


def test_resamples_of_one_class_are_left_out():
    x = np.linspace(0.0, 1.0, 100)[:, None]
    y = np.isin(np.arange(100), (30, 70)).astype(float)
    draws = bootstrap_fit(x, y, np.arange(100), penalty=Penalty(1.0), draws=100)
    assert 80 <= len(draws) < 100


def test_too_few_queries_tell_nothing_about_certainty():
    x = np.linspace(0.0, 1.0, 20)[:, None]
    y = np.r_[np.zeros(10), np.ones(10)]
    with pytest.raises(CalibrationError, match="resamples of 2 queries can be fitted"):
        bootstrap_fit(x, y, y.astype(np.int64), penalty=Penalty(1.0), draws=80)


def test_the_covariance_is_that_of_the_draws():
    rng = np.random.default_rng(1)
    query = np.repeat(np.arange(300), 10)
    x = np.column_stack([rng.normal(0.4, 0.1, 3_000), rng.normal(8.0, 2.0, 3_000)])
    z = 9.0 * x[:, 0] - 0.3 * x[:, 1] - 1.0 + rng.normal(0.0, 0.8, 300)[query]
    y = (rng.random(3_000) < 1 / (1 + np.exp(-z))).astype(float)
    weights = rng.uniform(0.5, 2.0, 3_000)
    fit = fit_logistic(x, y, penalty=Penalty(5.0), weights=weights)
    covariance = cluster_covariance(x, y, query, fit, ridge=5.0, weights=weights)
    draws = bootstrap_fit(x, y, query, penalty=Penalty(5.0), weights=weights, draws=120)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), draws.std(axis=0), rtol=0.2)
    np.testing.assert_array_equal(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance)[0] > -1e-9


def test_a_constant_feature_does_not_break_the_covariance():
    x, y = simulate([5.0], -2.0, n=400)
    both = np.column_stack([x, np.zeros(400)])
    fit = fit_logistic(both, y, penalty=Penalty(1.0))
    covariance = cluster_covariance(both, y, np.arange(400), fit, ridge=1.0)
    assert np.isfinite(covariance).all()
    assert covariance[1, 1] == pytest.approx(0.0, abs=1e-9)
