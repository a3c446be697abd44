import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import CalibrationError
from training.newton import MAX_GRADIENT, fit_logistic

pytestmark = pytest.mark.training


def simulate(coef, intercept: float, n: int = 40_000, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.normal(0.4, 0.15, (n, len(coef)))
    logit = x @ np.array(coef) + intercept
    return x, (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)


def test_known_parameters_are_recovered():
    x, y = simulate([12.0, -6.0], -4.0)
    fit = fit_logistic(x, y)
    np.testing.assert_allclose(fit.coef, [12.0, -6.0], rtol=0.05)
    assert fit.intercept == pytest.approx(-4.0, rel=0.05)
    assert fit.gradient < MAX_GRADIENT


def test_float32_cosines_are_fitted_in_float64():
    x, y = simulate([20.0], -9.0)
    start = -(y.mean() * np.log(y.mean()) + (1 - y.mean()) * np.log(1 - y.mean()))
    fit = fit_logistic(x.astype(np.float32), y)
    assert fit.coef.dtype == np.float64
    np.testing.assert_allclose(fit.coef, [20.0], rtol=0.05)
    assert fit.nll < start - 0.1


@settings(max_examples=20)
@given(st.floats(0.01, 100.0), st.floats(-50.0, 50.0))
def test_the_probabilities_do_not_depend_on_the_units_of_a_feature(scale, shift):
    x, y = simulate([5.0], -2.0, n=500)
    plain = fit_logistic(x, y, ridge=3.0)
    moved = fit_logistic(x * scale + shift, y, ridge=3.0)
    np.testing.assert_allclose(plain.logit(x), moved.logit(x * scale + shift), atol=1e-4)


def test_a_ridge_shrinks_the_weights_and_not_the_intercept():
    x, y = simulate([10.0], -8.0, n=2_000)
    strong = fit_logistic(x, y, ridge=1e9)
    assert abs(strong.coef[0]) < 1e-3
    assert 1 / (1 + np.exp(-strong.intercept)) == pytest.approx(y.mean(), abs=1e-3)


def test_a_weight_of_two_counts_as_two_rows():
    x, y = simulate([5.0], -2.0, n=400)
    weights = np.where(np.arange(400) < 100, 2.0, 1.0)
    weighted = fit_logistic(x, y, weights=weights)
    repeated = fit_logistic(np.r_[x, x[:100]], np.r_[y, y[:100]])
    np.testing.assert_allclose(weighted.coef, repeated.coef, rtol=1e-6)


def test_a_constant_feature_gets_no_weight():
    x, y = simulate([5.0], -2.0, n=400)
    fit = fit_logistic(np.column_stack([x, np.ones(400)]), y, ridge=1.0)
    assert fit.coef[1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([[0.1], [0.2]], [1.0, 1.0], "2 relevant among 2"),
        ([[0.1], [0.2]], [0.0, 0.0], "0 relevant among 2"),
        ([[0.1], [np.nan]], [0.0, 1.0], "not finite"),
        ([[0.1], [np.inf]], [0.0, 1.0], "not finite"),
        ([[0.1], [0.2]], [0.0, np.nan], "not finite"),
        ([[0.1], [0.2]], [0.0, 0.5], "must be 0 or 1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x, y, message):
    with pytest.raises(CalibrationError, match=message):
        fit_logistic(np.array(x), np.array(y))


def test_separable_data_without_ridge_is_refused_rather_than_fitted_to_infinity():
    x = np.linspace(-1.0, 1.0, 20)[:, None]
    with pytest.raises(CalibrationError, match="without error"):
        fit_logistic(x, (x[:, 0] > 0).astype(float))
