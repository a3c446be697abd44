import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.calibration import fit as module
from app.core.calibration.fit import MAX_GRADIENT, LinearLogit, Penalty, fit_logistic
from app.core.errors import CalibrationError
from tests.app.core.calibration.simulated import simulate


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
    plain = fit_logistic(x, y, penalty=Penalty(3.0))
    moved = fit_logistic(x * scale + shift, y, penalty=Penalty(3.0))
    np.testing.assert_allclose(plain.logit(x), moved.logit(x * scale + shift), atol=1e-4)


def test_a_ridge_shrinks_the_weights_and_not_the_intercept():
    x, y = simulate([10.0], -8.0, n=2_000)
    strong = fit_logistic(x, y, penalty=Penalty(1e9))
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
    fit = fit_logistic(np.column_stack([x, np.ones(400)]), y, penalty=Penalty(1.0))
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


def test_separable_data_with_a_ridge_are_fitted():
    x = np.linspace(-1.0, 1.0, 20)[:, None]
    fit = fit_logistic(x, (x[:, 0] > 0).astype(float), penalty=Penalty(1.0))
    assert 0.0 < fit.coef[0] < 20.0


@pytest.mark.parametrize("weights", [[1.0, -1.0, 1.0], [1.0, np.nan, 1.0]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(CalibrationError, match="negative or not finite"):
        fit_logistic(np.zeros((3, 1)), np.array([0.0, 1.0, 0.0]), weights=np.array(weights))


def test_rows_without_weight_do_not_count():
    x, y = simulate([5.0], -2.0, n=600)
    weights = np.where(np.arange(600) < 400, 1.0, 0.0)
    part = fit_logistic(x[:400], y[:400])
    np.testing.assert_allclose(fit_logistic(x, y, weights=weights).coef, part.coef, rtol=1e-6)
    with pytest.raises(CalibrationError, match="0 relevant"):
        fit_logistic(x, y, weights=1.0 - y)


def test_few_labels_stay_near_what_they_shrink_to_and_many_leave_it():
    truth, shipped = [12.0, -6.0], LinearLogit(np.array([8.0, -3.0]), -3.5)
    x, y = simulate(truth, -4.0)
    shrink = Penalty(200.0, towards=shipped, intercept_factor=1.0)
    few = fit_logistic(x[:60], y[:60], penalty=shrink)
    many = fit_logistic(x, y, penalty=shrink)
    np.testing.assert_allclose(few.coef, shipped.coef, atol=0.6)
    np.testing.assert_allclose(many.coef, truth, rtol=0.06)


def test_without_end_a_ridge_returns_what_it_shrinks_to():
    x, y = simulate([5.0, 1.0], -2.0, n=400)
    shipped = LinearLogit(np.array([3.0, 2.0]), -1.0)
    held = fit_logistic(x, y, penalty=Penalty(1e12, towards=shipped, intercept_factor=1.0))
    np.testing.assert_allclose(held.coef, shipped.coef, atol=1e-6)
    assert held.intercept == pytest.approx(shipped.intercept, abs=1e-6)
    level = fit_logistic(x, y, penalty=Penalty(1e12, towards=shipped))
    stated = (1 / (1 + np.exp(-level.logit(x)))).sum()
    assert stated == pytest.approx(y.sum(), rel=1e-6)


def test_a_factor_of_zero_leaves_a_feature_free():
    x, y = simulate([6.0, 4.0], -3.0, n=4_000)
    fit = fit_logistic(x, y, penalty=Penalty(1e9, factors=np.array([0.0, 1.0])))
    alone = fit_logistic(x[:, :1], y)
    assert fit.coef[0] == pytest.approx(alone.coef[0], rel=1e-4)
    assert fit.coef[1] == pytest.approx(0.0, abs=1e-4)


def test_units_of_one_shrink_rare_groups_more():
    rng = np.random.default_rng(0)
    n = 8_000
    rare, common = np.arange(n) < 80, np.arange(n) % 2 == 1
    z = -1.0 + 1.0 * rare + 1.0 * common
    y = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(float)
    x = np.column_stack([rare, common]).astype(float)
    free = fit_logistic(x, y)
    held = fit_logistic(x, y, penalty=Penalty(40.0, units=np.ones(2)))
    assert held.coef[0] / free.coef[0] < 0.5
    assert held.coef[1] / free.coef[1] > 0.9


def test_the_start_changes_nothing_but_the_steps():
    x, y = simulate([5.0, -2.0], -2.0, n=2_000)
    cold = fit_logistic(x, y, penalty=Penalty(1.0))
    warm = fit_logistic(x, y, penalty=Penalty(1.0), start=cold)
    np.testing.assert_allclose(warm.coef, cold.coef, atol=1e-7)
    assert warm.steps < cold.steps


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_features_and_logits_of_any_size_stay_finite(scale):
    x, y = simulate([40.0], -16.0, n=2_000)
    far = LinearLogit(np.array([900.0 / scale]), -400.0)
    fit = fit_logistic(x * scale, y, penalty=Penalty(1.0, towards=far))
    assert np.isfinite([fit.coef[0], fit.intercept, fit.nll]).all()
    assert fit.gradient < MAX_GRADIENT


def test_what_a_fit_shrinks_to_must_be_finite():
    x, y = simulate([5.0], -2.0, n=50)
    lost = Penalty(1.0, towards=LinearLogit(np.array([np.inf]), 0.0))
    with pytest.raises(CalibrationError, match="shrinks to is not finite"):
        fit_logistic(x, y, penalty=lost)


def test_an_optimiser_that_does_not_arrive_says_so(monkeypatch):
    x, y = simulate([5.0], -2.0, n=200)
    monkeypatch.setattr(module, "MAX_STEPS", 1)
    with pytest.raises(CalibrationError, match="did not converge in 1 steps"):
        fit_logistic(x, y)


def test_a_direction_that_only_leads_up_is_not_taken():
    beta, value = module._halve(np.zeros(1), np.ones(1), 0.0, lambda b: float(np.abs(b).sum()))
    assert beta.tolist() == [0.0]
    assert value == 0.0
