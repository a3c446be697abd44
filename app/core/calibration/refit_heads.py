"""Heads moved by judged hits, shrunk towards those of another calibrator.

The ridge pulls weights and level of a head back to where they were (Penalty.towards). It is chosen
by cross-validation over queries, so that few labels move little and many move much.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from app.core.calibration.calibrator import sigmoid
from app.core.calibration.document import CalibratorDocument
from app.core.calibration.fit import LinearLogit, Penalty, fit_logistic
from app.core.calibration.fit_draws import bootstrap_fit
from app.core.calibration.fit_ridge import choose_ridge, group_folds
from app.core.calibration.judged import JudgedHits
from app.core.calibration.parts import LinearHead
from app.core.errors import CalibrationError
from app.core.types import BoolArray, FloatArray

RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Probabilities of judged hits by fits that have not seen their queries, shapes (n,).

    Attributes:
        hit: P(the hit is relevant).
        first_hit: The same by the first-hit head; means something for first hits only.
    """

    hit: FloatArray
    first_hit: FloatArray


def cross_fitted(base: CalibratorDocument, hits: JudgedHits) -> Predicted:
    """Return probabilities of hits from fits that have not seen their queries, ridge included."""
    everything = np.ones_like(hits.known)
    hit = hits.stated.copy()
    _predict(hit, base, base.hit, hits, fitted=hits.known, stated=hits.known)
    _predict(hit, base, base.pooled, hits, fitted=everything, stated=~hits.known)
    first = squash(base, base.first_hit.logit(hits.columns))
    _predict(first, base, base.first_hit, hits, fitted=hits.first, stated=hits.first)
    return Predicted(hit, first)


def squash(base: CalibratorDocument, logit: FloatArray) -> FloatArray:
    """Return probabilities in the range of a calibrator."""
    low, high = base.clip
    return low + (high - low) * sigmoid(logit)


def _predict(  # noqa: PLR0913 - a head, and which rows it is fitted on and states
    into: FloatArray,
    base: CalibratorDocument,
    head: LinearHead,
    hits: JudgedHits,
    *,
    fitted: BoolArray,
    stated: BoolArray,
) -> None:
    """Overwrite probabilities, fold by fold; the base's stand where too little is left to fit."""
    fold = group_folds(hits.sample.query, FOLDS)
    for number in np.unique(fold[stated]):
        kept, out = fitted & (fold != number), stated & (fold == number)
        with suppress(CalibrationError):
            x, penalty = _chosen(head, hits, kept)
            into[out] = squash(base, _fit(x, hits, kept, penalty).logit(x[out]))


def _penalty(head: LinearHead) -> Penalty:
    towards = LinearLogit(np.array(head.coef), head.intercept)
    return Penalty(towards=towards, intercept_factor=1.0)


def _chosen(head: LinearHead, hits: JudgedHits, rows: BoolArray) -> tuple[FloatArray, Penalty]:
    """Return the design of the rows, and the penalty that predicts left-out queries best."""
    x = np.column_stack([hits.columns[name] for name in head.features])
    s = hits.sample
    choice = choose_ridge(
        x[rows],
        s.relevant[rows],
        s.query[rows],
        RIDGES,
        penalty=_penalty(head),
        weights=s.weights[rows],
        folds=FOLDS,
    )
    return x, choice.penalty


def _fit(x: FloatArray, hits: JudgedHits, rows: BoolArray, penalty: Penalty) -> LinearLogit:
    s = hits.sample
    return fit_logistic(x[rows], s.relevant[rows], penalty=penalty, weights=s.weights[rows])


def moved_head(head: LinearHead, hits: JudgedHits, rows: BoolArray) -> LinearHead:
    """Return a head fitted on rows, with its covariance; the head itself where that cannot be."""
    s = hits.sample
    try:
        x, penalty = _chosen(head, hits, rows)
        fit = _fit(x, hits, rows, penalty)
        draws = bootstrap_fit(
            x[rows], s.relevant[rows], s.query[rows], penalty=penalty, weights=s.weights[rows]
        )
    except CalibrationError:
        size = len(head.coef) + 1
        nothing = tuple((0.0,) * (n + 1) for n in range(size))
        return head.model_copy(update={"covariance": head.covariance or nothing})
    covariance = np.atleast_2d(np.cov(draws, rowvar=False))
    return LinearHead(
        features=head.features,
        coef=tuple(fit.coef.tolist()),
        intercept=fit.intercept,
        covariance=tuple(tuple(row[: n + 1]) for n, row in enumerate(covariance.tolist())),
    )
