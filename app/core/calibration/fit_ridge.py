"""Choosing a ridge by cross-validation over queries (or documents), never over single hits.

Hits of one list share their query's luck; a fold that splits a list lets the fit see the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.core.calibration.fit import FREE, Penalty, fit_logistic
from app.core.errors import CalibrationError
from app.core.types import FloatArray

GroupArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class RidgeChoice:
    """The ridge that predicts groups best that the fit has not seen.

    Attributes:
        penalty: The penalty that was given, with the chosen ridge.
        nll: Ridge to weighted mean negative log-likelihood of the hits left out; empty where
            there was nothing to choose from.
    """

    penalty: Penalty
    nll: Mapping[float, float]


def choose_ridge(  # noqa: PLR0913 - the data, the candidates and how to split
    features: FloatArray,
    relevant: FloatArray,
    groups: GroupArray,
    ridges: Sequence[float],
    *,
    penalty: Penalty = FREE,
    weights: FloatArray | None = None,
    folds: int = 5,
    seed: int = 0,
) -> RidgeChoice:
    """Return the penalty with the best of several ridges; of equal ones the first.

    Args:
        features: Shape (n, f).
        relevant: 0 or 1, shape (n,).
        groups: Number of what must not be split, shape (n,).
        ridges: Candidates, at least one. A single one is taken without a fit.
        penalty: Everything else about the penalty; its own ridge is not looked at.
        weights: Weight of every row, 1 by default.
        folds: Number of folds; as many as there are groups where they are fewer.
        seed: Decides which groups share a fold.

    Raises:
        CalibrationError: All hits are of one group, or what remains beside a fold cannot be fitted.
    """
    if len(ridges) == 1:
        return RidgeChoice(replace(penalty, ridge=ridges[0]), {})
    fold = group_folds(groups, folds, seed)
    if not fold.any():
        raise CalibrationError(
            "A ridge cannot be chosen: all judged hits are of one query. Judge hits of others."
        )
    w = np.ones(len(relevant)) if weights is None else weights
    scores = {
        ridge: _left_out_nll(features, relevant, w, fold, replace(penalty, ridge=ridge))
        for ridge in ridges
    }
    best = min(ridges, key=scores.__getitem__)
    return RidgeChoice(replace(penalty, ridge=best), scores)


def group_folds(groups: GroupArray, folds: int, seed: int = 0) -> GroupArray:
    """Return the fold of every row, from 0; all rows of a group are in one fold.

    Folds hold equally many groups, give or take one.

    Args:
        groups: Number of the group of every row, shape (n,).
        folds: Number of folds.
        seed: Decides which groups share a fold.
    """
    _, group = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(int(group.max(initial=-1)) + 1)
    assigned: GroupArray = (order % folds)[group]
    return assigned


def _left_out_nll(
    x: FloatArray, y: FloatArray, w: FloatArray, fold: GroupArray, penalty: Penalty
) -> float:
    loss = 0.0
    for number in np.unique(fold):
        out = fold == number
        fit = fit_logistic(x[~out], y[~out], penalty=penalty, weights=w[~out])
        logit = fit.logit(x[out])
        loss += float(w[out] @ (np.logaddexp(0.0, logit) - y[out] * logit))
    return loss / float(w.sum())
