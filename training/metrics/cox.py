"""Calibration slope and intercept: relevance regressed on the stated logit (Cox 1958)."""

from __future__ import annotations

import numpy as np

from app.core.calibration.calibrator import sigmoid
from app.core.calibration.fit import fit_logistic
from app.core.errors import CalibrationError
from app.core.types import FloatArray
from training.metrics.bootstrap import Estimate, interval
from training.retrieval_set import RowArray

_TINY = 1e-12


def cox(
    probability: FloatArray, relevant: FloatArray, cluster: RowArray, weights: FloatArray
) -> dict[str, Estimate]:
    """Return ``slope`` and ``intercept``, 1 and 0 where probabilities are right, with intervals.

    A replicate takes one Newton step from the fit on all hits (Schucany and Wang 1991): the step
    needs sums over clusters only. NaN where the fit is impossible.

    Args:
        probability: Shape (n,).
        relevant: 0 or 1, shape (n,).
        cluster: Number of the cluster of every hit, from 0, shape (n,).
        weights: How often a cluster is drawn, shape (replicates, clusters).
    """
    clipped = np.clip(probability, _TINY, 1.0 - _TINY)
    logit = np.log(clipped) - np.log1p(-clipped)
    try:
        fit = fit_logistic(logit[:, None], relevant)
    except CalibrationError:
        unknown = Estimate(float("nan"), float("nan"), float("nan"))
        return {"slope": unknown, "intercept": unknown}
    p = sigmoid(fit.logit(logit[:, None]))
    miss, spread = relevant - p, p * (1.0 - p)
    columns = (miss * logit, miss, spread * logit**2, spread * logit, spread)
    sums = np.column_stack([np.bincount(cluster, weights=c) for c in columns])
    by_slope, by_level, aa, ab, bb = (weights @ sums).T
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = aa * bb - ab**2
        slope = fit.coef[0] + (bb * by_slope - ab * by_level) / determinant
        level = fit.intercept + (aa * by_level - ab * by_slope) / determinant
    return {
        "slope": interval(float(fit.coef[0]), slope),
        "intercept": interval(fit.intercept, level),
    }
