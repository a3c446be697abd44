import json
import warnings

import numpy as np
import pytest
from netcal.binning import HistogramBinning, IsotonicRegression
from netcal.scaling import BetaCalibration, LogisticCalibration, TemperatureScaling

from app.core.errors import CalibrationError
from training.reference_calibrators import (
    PLATT,
    ScoreMap,
    _refuse_no_op,
    _unit,
    fit_netcal,
    fit_platt,
    fit_references,
)

pytestmark = pytest.mark.training


NETCAL = {
    "temperature": TemperatureScaling(),
    "beta": BetaCalibration(),
    "isotonic": IsotonicRegression(),
    "histogram": HistogramBinning(bins=15),
}


def simulate(n: int = 4_000):
    rng = np.random.default_rng(0)
    score = rng.normal(0.4, 0.15, n)
    return score, (rng.random(n) < 1 / (1 + np.exp(-(15 * score - 7)))).astype(float)


def nll(probability, relevant) -> float:
    clipped = np.clip(probability, 1e-9, 1 - 1e-9)
    return float(-(relevant * np.log(clipped) + (1 - relevant) * np.log(1 - clipped)).mean())


def test_platt_recovers_slope_and_intercept():
    platt = fit_platt(*simulate(40_000))
    assert platt.parameters["slope"] == pytest.approx(15.0, rel=0.05)
    assert platt.parameters["intercept"] == pytest.approx(-7.0, rel=0.05)


def test_netcal_fits_float32_cosines_because_they_are_cast_first():
    score, relevant = simulate()
    fitted = fit_netcal(score.astype(np.float32), relevant)
    assert {name.removesuffix(" (netcal)") for name in fitted} == set(NETCAL)
    best = nll(fit_platt(score, relevant)(score), relevant)
    for name in ("beta (netcal)", "isotonic (netcal)"):
        assert nll(fitted[name](score), relevant) == pytest.approx(best, rel=0.05)


def test_temperature_alone_cannot_move_the_level():
    score, relevant = simulate()
    fitted = fit_netcal(score, relevant)
    best = nll(fit_platt(score, relevant)(score), relevant)
    assert nll(fitted["temperature (netcal)"](score), relevant) > 1.3 * best


@pytest.mark.parametrize("name", NETCAL)
def test_kept_parameters_say_what_netcal_says_also_after_a_round_trip(name):
    score, relevant = simulate()
    kept = fit_netcal(score, relevant)[f"{name} (netcal)"]
    again = ScoreMap.from_json(json.loads(json.dumps(kept.to_json())))
    method = NETCAL[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method.fit(_unit(score), relevant.astype(int))
        theirs = np.ravel(method.transform(_unit(score)))
    np.testing.assert_allclose(again(score), theirs, atol=1e-12)


def test_netcal_does_not_fit_float32():
    """Documents a defect of netcal 1.4: should this fail, it is mended, and the cast can go."""
    score, relevant = simulate()
    unit = _unit(score)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        in_float32 = LogisticCalibration().fit(unit.astype(np.float32), relevant.astype(int))
        unchanged = np.ravel(in_float32.transform(unit.astype(np.float32)))
        in_float64 = LogisticCalibration().fit(unit, relevant.astype(int))
        changed = np.ravel(in_float64.transform(unit))
    np.testing.assert_allclose(unchanged, unit, atol=1e-6)
    assert np.abs(changed - unit).max() > 0.1


def test_references_are_fitted_by_weight():
    score, relevant = simulate()
    weights = np.where(np.arange(len(score)) < 1000, 1.0, 1e-9)
    fitted = fit_references(score, relevant, weights)
    assert set(fitted) == {PLATT, "base rate", *(f"{name} (netcal)" for name in NETCAL)}
    assert fitted["base rate"](score[:3]) == pytest.approx(relevant[:1000].mean(), rel=1e-5)
    part = fit_platt(score[:1000], relevant[:1000])
    np.testing.assert_allclose(fitted[PLATT](score), part(score), atol=1e-4)


def test_a_fit_that_returns_its_input_is_refused():
    score, _ = simulate(100)
    with pytest.raises(CalibrationError, match="did not fit"):
        _refuse_no_op({"temperature": _unit}, score)
