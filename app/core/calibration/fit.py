"""Fitting a calibrator: penalised logistic regression by Newton's method, numpy and float64 only.

How the parts go together, for a table of hits with features ``x`` (n, f), labels ``y`` (n,) and
the query (or document) ``group`` (n,) that each hit belongs to::

    from app.core.calibration.fit import Penalty, fit_logistic
    from app.core.calibration.fit_ridge import choose_ridge
    from app.core.calibration.fit_draws import bootstrap_fit

    shrink = Penalty(towards=LinearLogit(shipped_coef, shipped_intercept), intercept_factor=1.0)
    choice = choose_ridge(x, y, group, (1.0, 10.0, 100.0), penalty=shrink)
    fit = fit_logistic(x, y, penalty=choice.penalty)      # coef (f,), intercept, nll, ...
    draws = bootstrap_fit(x, y, group, penalty=choice.penalty)     # (200, f + 1), intercept last

What is minimised, with weights ``w`` scaled to a mean of 1 and ``z_i = x_i @ coef + intercept``::

    sum_i w_i * (log(1 + exp(z_i)) - y_i * z_i)
        + ridge / 2 * sum_j factor_j * (unit_j * (coef_j - towards_j))^2
        + ridge / 2 * intercept_factor * (level - level of towards)^2

``unit_j`` is the feature's standard deviation unless it is given, so that a ridge means the same
for features of any scale; ``level`` is the mean logit of the rows. A ridge is counted in rows: one
of 100 weighs as much as a hundred hits do at a probability of one half, up to a factor of 4.
Without ``towards`` weights shrink to 0 and the level is free, the ordinary ridge.
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
_ROUNDING = 1e-14
_CONSTANT = 1e-12
"""A spread of so much of the mean is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearLogit:
    """A logit ``coef @ x + intercept``.

    Attributes:
        coef: One weight a feature, in the feature's units, float64 of shape (f,).
        intercept: Constant.
    """

    coef: FloatArray
    intercept: float

    def logit(self, features: FloatArray) -> FloatArray:
        """Return the logits of rows (n, f), shape (n,)."""
        result: FloatArray = features @ self.coef + self.intercept
        return result


@dataclass(frozen=True, slots=True, eq=False)
class LogisticFit(LinearLogit):
    """A fitted logit.

    Attributes:
        gradient: Largest absolute component of the mean gradient at the end.
        steps: Newton steps taken.
        nll: Weighted mean negative log-likelihood of the fitting rows, without the penalty.
    """

    gradient: float
    steps: int
    nll: float


@dataclass(frozen=True, slots=True, eq=False)
class Penalty:
    """What a fit is drawn towards, and how strongly; see the module for the formula.

    Attributes:
        ridge: Overall strength, in rows; 0 for none.
        factors: Multiplier of the ridge for every feature, shape (f,); 1 by default, and 0 leaves
            a feature free.
        units: What counts as a change of 1 in the weight of every feature, shape (f,); standard
            deviations by default. Give 1 for 0-1 columns of groups, so that a group with few rows
            is shrunk more than one with many.
        towards: The logit that the fit shrinks to; 0 by default.
        intercept_factor: Multiplier of the ridge for the level; 0 leaves it free.
    """

    ridge: float = 0.0
    factors: FloatArray | None = None
    units: FloatArray | None = None
    towards: LinearLogit | None = None
    intercept_factor: float = 0.0


FREE = Penalty()


def fit_logistic(
    features: FloatArray,
    relevant: FloatArray,
    *,
    penalty: Penalty = FREE,
    weights: FloatArray | None = None,
    start: LinearLogit | None = None,
) -> LogisticFit:
    """Fit P(relevant | features) by penalised maximum likelihood.

    Args:
        features: Any float dtype, shape (n, f); computed with in float64.
        relevant: 0 or 1, shape (n,).
        penalty: What the fit shrinks to, and how strongly.
        weights: Weight of every row, at least 0, 1 by default; scaled to a mean of 1.
        start: Where Newton's method begins; the result does not depend on it, the time does.

    Raises:
        CalibrationError: The input is not finite, holds one class only or is separable without a
            ridge, or the optimiser did not reach a gradient of ``MAX_GRADIENT``.
    """
    x = np.asarray(features, dtype=np.float64)
    y = np.asarray(relevant, dtype=np.float64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    _check(x, y, w)
    w = w / w.sum()
    origin = penalty.towards or LinearLogit(np.zeros(x.shape[1]), 0.0)
    problem = _standardise(x, y, w, origin, penalty)
    beta, gradient, steps = _minimise(problem, problem.begin(start, origin))
    nll = problem.loss(beta)
    if nll < _PERFECT:
        raise CalibrationError(
            "The fit would go to infinity: the relevant hits can be told apart without error. "
            "Give it more judged hits, or a ridge."
        )
    moved = beta[:-1] / problem.scale
    return LogisticFit(
        coef=origin.coef + moved,
        intercept=origin.intercept + float(beta[-1] - moved @ problem.centre),
        gradient=gradient,
        steps=steps,
        nll=nll,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """A fit in standardised features, of what is added to the logit it shrinks to.

    Attributes:
        design: Standardised features and a column of ones, shape (n, f + 1).
        y: Labels.
        w: Weights, their sum 1.
        offset: The logit it shrinks to, shape (n,).
        diagonal: Penalty of every parameter, shape (f + 1,).
        centre: Means of the features.
        scale: Standard deviations of the features; 1 where a feature is constant.
    """

    design: FloatArray
    y: FloatArray
    w: FloatArray
    offset: FloatArray
    diagonal: FloatArray
    centre: FloatArray
    scale: FloatArray

    def logit(self, beta: FloatArray) -> FloatArray:
        result: FloatArray = self.design @ beta + self.offset
        return result

    def loss(self, beta: FloatArray) -> float:
        z = self.logit(beta)
        return float(self.w @ (np.logaddexp(0.0, z) - self.y * z))

    def objective(self, beta: FloatArray) -> float:
        return self.loss(beta) + 0.5 * float(self.diagonal @ beta**2)

    def begin(self, start: LinearLogit | None, origin: LinearLogit) -> FloatArray:
        beta = np.zeros(self.design.shape[1])
        if start is not None:
            moved = start.coef - origin.coef
            beta[:-1] = moved * self.scale
            beta[-1] = start.intercept - origin.intercept + float(moved @ self.centre)
        elif not self.offset.any():
            rate = float(self.w @ self.y)
            beta[-1] = np.log(rate / (1.0 - rate))
        return beta


def _standardise(
    x: FloatArray, y: FloatArray, w: FloatArray, origin: LinearLogit, penalty: Penalty
) -> _Problem:
    features = x.shape[1]
    centre: FloatArray = w @ x
    scale: FloatArray = np.sqrt(w @ (x - centre) ** 2)
    scale[scale <= _CONSTANT * np.abs(centre)] = 1.0
    units = scale if penalty.units is None else penalty.units
    factors = np.ones(features) if penalty.factors is None else penalty.factors
    offset = origin.logit(x)
    if not np.isfinite(offset).all():
        raise CalibrationError("A calibrator cannot be fitted: what it shrinks to is not finite.")
    return _Problem(
        design=np.column_stack([(x - centre) / scale, np.ones(len(y))]),
        y=y,
        w=w,
        offset=offset,
        diagonal=np.append(factors * (units / scale) ** 2, penalty.intercept_factor)
        * (penalty.ridge / len(y)),
        centre=centre,
        scale=scale,
    )


def _minimise(problem: _Problem, beta: FloatArray) -> tuple[FloatArray, float, int]:
    design, size = problem.design, np.inf
    value = problem.objective(beta)
    for step in range(MAX_STEPS):
        p = sigmoid(problem.logit(beta))
        gradient = design.T @ (problem.w * (p - problem.y)) + problem.diagonal * beta
        size = float(np.abs(gradient).max())
        if size < MAX_GRADIENT:
            return beta, size, step
        weighted: FloatArray = design * (problem.w * p * (1.0 - p))[:, None]
        curvature: FloatArray = design.T @ weighted + np.diag(problem.diagonal)
        direction = np.asarray(np.linalg.lstsq(curvature, gradient, rcond=None)[0], np.float64)
        beta, value = _halve(beta, direction, value, problem.objective)
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
    """Take the longest step among 1, 1/2, 1/4, ... that does not make the objective worse.

    Close to the end the objective changes by less than its rounding: that is no reason to stop.
    """
    for halving in range(_MAX_HALVINGS):
        candidate = beta - direction * 0.5**halving
        found = objective(candidate)
        if found <= value + _ROUNDING * abs(value):
            return candidate, found
    return beta, value


def _check(x: FloatArray, y: FloatArray, w: FloatArray) -> None:
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise CalibrationError("A calibrator cannot be fitted: a feature or label is not finite.")
    if not np.isin(y, (0.0, 1.0)).all():
        raise CalibrationError("A calibrator cannot be fitted: labels must be 0 or 1.")
    if not (np.isfinite(w).all() and (w >= 0.0).all()):
        raise CalibrationError("A calibrator cannot be fitted: a weight is negative or not finite.")
    counted = y[w > 0.0]
    if not 0.0 < counted.sum() < len(counted):
        raise CalibrationError(
            "A calibrator cannot be fitted: it needs relevant and irrelevant hits, and there are "
            f"{int(counted.sum())} relevant among {len(counted)}."
        )
