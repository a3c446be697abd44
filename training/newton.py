"""Logistic regression by Newton's method with step halving, in float64.

Features are standardised inside, so that a ridge means the same for all of them, and the result
is returned in the units of the features. The intercept is not penalised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.core.calibration.calibrator import sigmoid
from app.core.errors import CalibrationError
from app.core.types import FloatArray

MAX_STEPS = 100
MAX_GRADIENT = 1e-8
_MAX_HALVINGS = 40
_PERFECT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class LogisticFit:
    """A fitted logit ``coef @ x + intercept``.

    Attributes:
        coef: One weight a feature, in the feature's units.
        intercept: Constant.
        gradient: Largest absolute component of the mean gradient at the end.
        steps: Newton steps taken.
        nll: Mean negative log-likelihood of the fitting rows, without the penalty.
    """

    coef: FloatArray
    intercept: float
    gradient: float
    steps: int
    nll: float

    def logit(self, features: FloatArray) -> FloatArray:
        """Return the logits of rows, shape (n,)."""
        result: FloatArray = features @ self.coef + self.intercept
        return result


def fit_logistic(
    features: FloatArray,
    relevant: FloatArray,
    *,
    ridge: float = 0.0,
    weights: FloatArray | None = None,
) -> LogisticFit:
    """Fit P(relevant | features) by penalised maximum likelihood.

    Args:
        features: Any float dtype, shape (n, f); computed with in float64.
        relevant: 0 or 1, shape (n,).
        ridge: Penalty ``ridge / 2 * |standardised coef|^2`` on the summed log-likelihood, the
            weight of so many rows.
        weights: Weight of every row, 1 by default; scaled to a mean of 1.

    Raises:
        CalibrationError: The input is not finite, holds one class only or is separable without a
            ridge, or the optimiser did not reach a gradient of ``MAX_GRADIENT``.
    """
    x = np.asarray(features, dtype=np.float64)
    y = np.asarray(relevant, dtype=np.float64)
    _check(x, y)
    w = np.ones(len(y)) if weights is None else weights / weights.mean()
    centre = np.average(x, axis=0, weights=w)
    scale = np.sqrt(np.average((x - centre) ** 2, axis=0, weights=w))
    scale[scale == 0.0] = 1.0
    design: FloatArray = np.column_stack([(x - centre) / scale, np.ones(len(y))])
    penalty = np.append(np.full(x.shape[1], ridge / len(y)), 0.0)
    beta, gradient, steps = _minimise(design, y, w / len(y), penalty)
    nll = _loss(design @ beta, y, w / len(y))
    if nll < _PERFECT:
        raise CalibrationError(
            "The fit would go to infinity: the relevant hits can be told apart without error. "
            "Give it more judged hits, or a ridge."
        )
    coef = beta[:-1] / scale
    return LogisticFit(
        coef=coef,
        intercept=float(beta[-1] - coef @ centre),
        gradient=gradient,
        steps=steps,
        nll=nll,
    )


def _minimise(
    design: FloatArray, y: FloatArray, w: FloatArray, penalty: FloatArray
) -> tuple[FloatArray, float, int]:
    beta = np.zeros(design.shape[1])
    rate = float(w @ y)
    beta[-1] = np.log(rate / (1.0 - rate))

    def objective(candidate: FloatArray) -> float:
        return _loss(design @ candidate, y, w) + 0.5 * float(penalty @ candidate**2)

    value, size = objective(beta), np.inf
    for step in range(MAX_STEPS):
        p = sigmoid(design @ beta)
        gradient = design.T @ (w * (p - y)) + penalty * beta
        size = float(np.abs(gradient).max())
        if size < MAX_GRADIENT:
            return beta, size, step
        weighted: FloatArray = design * (w * p * (1.0 - p))[:, None]
        curvature: FloatArray = design.T @ weighted + np.diag(penalty)
        direction = np.asarray(np.linalg.lstsq(curvature, gradient, rcond=None)[0], np.float64)
        beta, value = _halve(beta, direction, value, objective)
    raise CalibrationError(
        f"The fit did not converge in {MAX_STEPS} steps (gradient {size:.1e}). Give it more "
        "judged hits, or a ridge."
    )


def _halve(
    beta: FloatArray,
    direction: FloatArray,
    value: float,
    objective: Callable[[FloatArray], float],
) -> tuple[FloatArray, float]:
    """Take the longest step among 1, 1/2, 1/4, ... that does not make the objective worse."""
    for halving in range(_MAX_HALVINGS):
        candidate = beta - direction * 0.5**halving
        found = objective(candidate)
        if found <= value:
            return candidate, found
    return beta, value


def _loss(logit: FloatArray, y: FloatArray, w: FloatArray) -> float:
    return float(w @ (np.logaddexp(0.0, logit) - y * logit))


def _check(x: FloatArray, y: FloatArray) -> None:
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise CalibrationError("A calibrator cannot be fitted: a feature or label is not finite.")
    if not np.isin(y, (0.0, 1.0)).all():
        raise CalibrationError("A calibrator cannot be fitted: labels must be 0 or 1.")
    if y.min(initial=1.0) == y.max(initial=0.0) or not len(y):
        raise CalibrationError(
            "A calibrator cannot be fitted: it needs relevant and irrelevant hits, and there are "
            f"{int(y.sum())} relevant among {len(y)}."
        )
