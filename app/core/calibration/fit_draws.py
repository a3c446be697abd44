"""How certain fitted parameters are: by queries (or documents), never by single hits.

``bootstrap_fit`` draws whole groups with replacement and repeats the fit, ``cluster_covariance``
says in one pass what that scatters by where there are many groups. So hits of one list count as
the one piece of evidence they are. Resampling rows instead covers the truth in 77 of 100 cases
where 95 are promised.
"""

from __future__ import annotations

import numpy as np

from app.core.calibration.calibrator import sigmoid
from app.core.calibration.fit import FREE, LinearLogit, Penalty, fit_logistic
from app.core.calibration.fit_ridge import GroupArray
from app.core.calibration.resampling import resampled_groups
from app.core.errors import CalibrationError
from app.core.types import FloatArray

DRAWS = 200
_LEAST = 0.8
"""Share of resamples that must be fitted: fewer is one query holding all there is of a class."""


def bootstrap_fit(  # noqa: PLR0913 - the data, the penalty and how to draw
    features: FloatArray,
    relevant: FloatArray,
    groups: GroupArray,
    *,
    penalty: Penalty = FREE,
    weights: FloatArray | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> FloatArray:
    """Return parameters fitted on resampled groups.

    A resample that cannot be fitted (it holds one class only) is left out.

    Args:
        features: Shape (n, f).
        relevant: 0 or 1, shape (n,).
        groups: Number of what is resampled, shape (n,).
        penalty: As in ``fit_logistic``.
        weights: Weight of every row, 1 by default.
        draws: Number of resamples.
        seed: Of the resampling.

    Returns:
        float64 of shape (at most draws, f + 1): weights of the features, intercept last.

    Raises:
        CalibrationError: The data cannot be fitted, or a fifth of the resamples cannot.
    """
    w = np.ones(len(relevant)) if weights is None else np.asarray(weights, dtype=np.float64)
    found = fit_logistic(features, relevant, penalty=penalty, weights=w)
    _, group = np.unique(groups, return_inverse=True)
    count = int(group.max()) + 1
    rows = []
    for times in resampled_groups(count, draws, seed):
        drawn = w * times[group]
        try:
            row = fit_logistic(features, relevant, penalty=penalty, weights=drawn, start=found)
        except CalibrationError:
            continue
        rows.append(np.append(row.coef, row.intercept))
    if len(rows) < draws * _LEAST:
        raise CalibrationError(
            f"How certain the parameters are cannot be told: only {len(rows)} of {draws} "
            f"resamples of {count} queries can be fitted. Judge hits of more queries."
        )
    return np.array(rows)


def cluster_covariance(  # noqa: PLR0913 - what was fitted, and how
    features: FloatArray,
    relevant: FloatArray,
    groups: GroupArray,
    fitted: LinearLogit,
    *,
    ridge: float = 0.0,
    weights: FloatArray | None = None,
) -> FloatArray:
    """Return the covariance of fitted parameters, float64 of shape (f + 1, f + 1), intercept last.

    The sandwich over groups, with the factor G / (G - 1) (Liang and Zeger 1986).

    Args:
        features: What was fitted, shape (n, f).
        relevant: 0 or 1, shape (n,).
        groups: Number of what is one piece of evidence, shape (n,); at least two.
        fitted: The fit.
        ridge: Its ridge, in units of standard deviations and towards 0.
        weights: Weight of every row, 1 by default.
    """
    w = np.ones(len(relevant)) if weights is None else weights / weights.mean()
    spread = np.sqrt(np.average((features - np.average(features, axis=0, weights=w)) ** 2, 0, w))
    unit = np.append(np.where(spread > 0.0, spread, 1.0), 1.0)
    design: FloatArray = np.column_stack([features, np.ones(len(relevant))]) / unit
    p = sigmoid(fitted.logit(features))
    shrunk = np.append(np.full(features.shape[1], ridge), 0.0)
    curvature = design.T @ (design * (w * p * (1.0 - p))[:, None]) + np.diag(shrunk)
    _, group = np.unique(groups, return_inverse=True)
    pull = w * (p - relevant)
    pulls = np.column_stack([np.bincount(group, weights=pull * column) for column in design.T])
    bread = np.linalg.pinv(curvature)
    covariance = bread @ (pulls.T @ pulls) @ bread * (len(pulls) / (len(pulls) - 1))
    result: FloatArray = (covariance + covariance.T) / 2.0 / np.outer(unit, unit)
    return result
