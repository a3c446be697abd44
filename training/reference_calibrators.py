"""The usual calibrators of a single score, fitted beside ours so that the choice is shown.

Platt scaling is our own fit. Temperature scaling, beta and isotonic calibration and histogram
binning are fitted by netcal, where it is installed, on the cosine mapped to [0, 1] by
(score + 1) / 2, in float64. What is kept of them is their parameters, as JSON: netcal's own files
are pickles, which torch from 2.6 on refuses to load.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.core.calibration.calibrator import sigmoid
from app.core.calibration.fit import fit_logistic
from app.core.errors import CalibrationError
from app.core.types import FloatArray, JsonValue

PLATT = "Platt on the score"
SAMPLE = 100_000
"""Hits that netcal is given: it knows no weights, so they are drawn by weight."""

_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class ScoreMap:
    """A calibrator of the score alone.

    Attributes:
        kind: Which formula: ``constant``, ``platt``, ``temperature``, ``beta``, ``isotonic`` or
            ``histogram``.
        parameters: Its numbers, by name.
    """

    kind: str
    parameters: Mapping[str, FloatArray]

    def __call__(self, score: FloatArray) -> FloatArray:
        """Return the probabilities of cosines, float64 of shape (n,)."""
        s = np.asarray(score, dtype=np.float64)
        return np.clip(_FORMULAS[self.kind](s, self.parameters), 0.0, 1.0)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the JSON object of this calibrator."""
        return {"kind": self.kind, **{name: v.tolist() for name, v in self.parameters.items()}}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> ScoreMap:
        """Return the calibrator of a JSON object."""
        numbers = {name: np.array(v, dtype=float) for name, v in raw.items() if name != "kind"}
        return cls(raw["kind"], numbers)


def fit_platt(
    score: FloatArray, relevant: FloatArray, weights: FloatArray | None = None
) -> ScoreMap:
    """Fit Platt scaling on cosines; raises as ``fit_logistic``."""
    fit = fit_logistic(score[:, None], relevant, weights=weights)
    return ScoreMap("platt", {"slope": fit.coef[:1], "intercept": np.array([fit.intercept])})


def fit_references(
    score: FloatArray, relevant: FloatArray, weights: FloatArray, *, seed: int = 0
) -> dict[str, ScoreMap]:
    """Fit every reference on the same hits; netcal's where it is installed.

    Raises:
        CalibrationError: A fit is impossible, or left its parameters where they started.
    """
    rate = np.array([np.average(relevant, weights=weights)])
    share = weights / weights.sum()
    drawn = np.random.default_rng(seed).choice(len(score), min(SAMPLE, len(score)), p=share)
    return {
        PLATT: fit_platt(score, relevant, weights),
        **fit_netcal(score[drawn], relevant[drawn]),
        "base rate": ScoreMap("constant", {"rate": rate}),
    }


def fit_netcal(score: FloatArray, relevant: FloatArray) -> dict[str, ScoreMap]:
    """Fit netcal's calibrators; an empty result where netcal is not installed.

    Raises:
        CalibrationError: A fit left its parameters where they started.
    """
    if importlib.util.find_spec("netcal") is None:
        return {}
    from netcal.binning import HistogramBinning, IsotonicRegression
    from netcal.scaling import BetaCalibration, TemperatureScaling

    methods = {
        "temperature": (TemperatureScaling(), _temperature),
        "beta": (BetaCalibration(), _beta),
        "isotonic": (IsotonicRegression(), _isotonic),
        "histogram": (HistogramBinning(bins=15), _histogram),
    }
    labels = relevant.astype(np.int64)
    fitted: dict[str, ScoreMap] = {}
    for name, (method, parameters) in methods.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it divides by zero on its way, and says so
            method.fit(_unit(score), labels)
        fitted[f"{name} (netcal)"] = ScoreMap(name, parameters(method))
    _refuse_no_op(fitted, score)
    return fitted


def _site(method: Any, name: str) -> FloatArray:  # noqa: ANN401 - netcal has no types
    return np.asarray(method._sites[name]["values"], dtype=np.float64)


def _temperature(method: Any) -> dict[str, FloatArray]:  # noqa: ANN401
    return {"slope": _site(method, "weights")[0]}


def _beta(method: Any) -> dict[str, FloatArray]:  # noqa: ANN401
    weights, bias = _site(method, "weights"), _site(method, "bias")
    return {"a": weights[0], "b": weights[1], "c": bias[0]}


def _isotonic(method: Any) -> dict[str, FloatArray]:  # noqa: ANN401
    return {"x": method._iso.X_thresholds_, "y": method._iso.y_thresholds_}


def _histogram(method: Any) -> dict[str, FloatArray]:  # noqa: ANN401
    return {"edges": method._bin_bounds[0], "rates": np.ravel(method._bin_map)}


def _in_bins(score: FloatArray, edges: FloatArray, rates: FloatArray) -> FloatArray:
    bins = np.searchsorted(edges, _unit(score), side="left") - 1
    return rates[np.clip(bins, 0, len(rates) - 1)]


_FORMULAS: Mapping[str, Callable[[FloatArray, Mapping[str, FloatArray]], FloatArray]] = {
    "constant": lambda s, p: np.full(len(s), p["rate"].item()),
    "platt": lambda s, p: sigmoid(p["slope"] * s + p["intercept"]),
    "temperature": lambda s, p: sigmoid(p["slope"] * (_log(_unit(s)) - _log(1.0 - _unit(s)))),
    "beta": lambda s, p: sigmoid(p["a"] * _log(_unit(s)) - p["b"] * _log(1.0 - _unit(s)) + p["c"]),
    "isotonic": lambda s, p: np.interp(_unit(s), p["x"], p["y"]),
    "histogram": lambda s, p: _in_bins(s, p["edges"], p["rates"]),
}


def _log(value: FloatArray) -> FloatArray:
    result: FloatArray = np.log(np.maximum(value, _TINY))
    return result


def _unit(score: FloatArray) -> FloatArray:
    # float64 is not a nicety: scipy's finite differences step by 1.5e-8, which vanishes in
    # float32, so on float32 netcal stops at its start and returns the identity without a word.
    unit: FloatArray = (score.astype(np.float64) + 1.0) / 2.0
    return np.clip(unit, 0.0, 1.0)


def _refuse_no_op(
    fitted: Mapping[str, Callable[[FloatArray], FloatArray]], score: FloatArray
) -> None:
    sample = score[:: max(1, len(score) // 1000)]
    for name, method in fitted.items():
        if np.allclose(method(sample), _unit(sample), atol=1e-9):
            raise CalibrationError(f"{name} did not fit: it returns its input unchanged.")
