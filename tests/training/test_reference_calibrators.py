import numpy as np
import pytest

from app.core.errors import CalibrationError
from training.reference_calibrators import _refuse_no_op, _unit, fit_netcal, fit_platt

pytestmark = pytest.mark.training


def simulate(n: int = 4_000):
    rng = np.random.default_rng(0)
    score = rng.normal(0.4, 0.15, n)
    return score, (rng.random(n) < 1 / (1 + np.exp(-(15 * score - 7)))).astype(float)


def nll(probability, relevant) -> float:
    clipped = np.clip(probability, 1e-9, 1 - 1e-9)
    return float(-(relevant * np.log(clipped) + (1 - relevant) * np.log(1 - clipped)).mean())


def test_platt_recovers_slope_and_intercept():
    platt = fit_platt(*simulate(40_000))
    assert platt.slope == pytest.approx(15.0, rel=0.05)
    assert platt.intercept == pytest.approx(-7.0, rel=0.05)


def test_netcal_fits_float32_cosines_because_they_are_cast_first():
    score, relevant = simulate()
    fitted = fit_netcal(score.astype(np.float32), relevant)
    assert set(fitted) == {"temperature (netcal)", "beta (netcal)", "isotonic (netcal)"}
    best = nll(fit_platt(score, relevant)(score), relevant)
    for name in ("beta (netcal)", "isotonic (netcal)"):
        assert nll(fitted[name](score), relevant) == pytest.approx(best, rel=0.05)


def test_temperature_alone_cannot_move_the_level():
    score, relevant = simulate()
    fitted = fit_netcal(score, relevant)
    best = nll(fit_platt(score, relevant)(score), relevant)
    assert nll(fitted["temperature (netcal)"](score), relevant) > 1.3 * best


def test_a_fit_that_returns_its_input_is_refused():
    score, _ = simulate(100)
    with pytest.raises(CalibrationError, match="did not fit"):
        _refuse_no_op({"temperature": _unit}, score)
