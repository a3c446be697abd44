"""The usual calibrators of a single score, fitted beside ours so that the choice is shown.

Base rate and Platt scaling are our own fits. Temperature scaling, beta and isotonic calibration
come from netcal, where it is installed, on the cosine mapped to [0, 1] by (score + 1) / 2.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.core.calibration.calibrator import sigmoid
from app.core.calibration.fit import fit_logistic
from app.core.errors import CalibrationError
from app.core.types import FloatArray

ScoreToProbability = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class PlattParameters:
    """P(relevant) = sigmoid(slope * score + intercept)."""

    slope: float
    intercept: float

    def __call__(self, score: FloatArray) -> FloatArray:
        """Return the probabilities of cosines."""
        return sigmoid(self.slope * score + self.intercept)


def fit_platt(
    score: FloatArray, relevant: FloatArray, weights: FloatArray | None = None
) -> PlattParameters:
    """Fit Platt scaling on cosines; raises as ``fit_logistic``."""
    fit = fit_logistic(score[:, None], relevant, weights=weights)
    return PlattParameters(float(fit.coef[0]), fit.intercept)


def fit_netcal(score: FloatArray, relevant: FloatArray) -> dict[str, ScoreToProbability]:
    """Fit netcal's calibrators; an empty result where netcal is not installed.

    Raises:
        CalibrationError: A fit left its parameters where they started.
    """
    if importlib.util.find_spec("netcal") is None:
        return {}
    from netcal.binning import IsotonicRegression
    from netcal.scaling import BetaCalibration, TemperatureScaling

    methods = {
        "temperature (netcal)": TemperatureScaling(),
        "beta (netcal)": BetaCalibration(),
        "isotonic (netcal)": IsotonicRegression(),
    }
    labels = relevant.astype(np.int64)
    fitted: dict[str, ScoreToProbability] = {}
    for name, method in methods.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it divides by zero on its way, and says so
            method.fit(_unit(score), labels)
        fitted[name] = _Applied(method.transform)
    _refuse_no_op(fitted, score)
    return fitted


@dataclass(frozen=True, slots=True)
class _Applied:
    transform: Callable[[FloatArray], FloatArray]

    def __call__(self, score: FloatArray) -> FloatArray:
        """Return the probabilities of cosines."""
        transformed = np.asarray(self.transform(_unit(score)), dtype=np.float64).reshape(-1)
        return np.clip(transformed, 0.0, 1.0)


def _unit(score: FloatArray) -> FloatArray:
    # float64 is not a nicety: scipy's finite differences step by 1.5e-8, which vanishes in
    # float32, so on float32 netcal stops at its start and returns the identity without a word.
    unit: FloatArray = (score.astype(np.float64) + 1.0) / 2.0
    return np.clip(unit, 0.0, 1.0)


def _refuse_no_op(fitted: dict[str, ScoreToProbability], score: FloatArray) -> None:
    sample = score[:: max(1, len(score) // 1000)]
    for name, method in fitted.items():
        if np.allclose(method(sample), _unit(sample), atol=1e-9):
            raise CalibrationError(f"{name} did not fit: it returns its input unchanged.")
