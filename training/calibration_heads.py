"""Fits one head of a calibrator: a logit that is linear in features of judged hits.

A source with a level of its own (see ``CalibrationSource.own_level``) has an offset and slopes that
are fitted and then left out: it tells how the relations differ, and nothing else. The ridge is
chosen by cross-validation over documents, because hits of one list are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.core.calibration.document import against_their_law
from app.core.calibration.fit import LogisticFit, Penalty, fit_logistic
from app.core.calibration.fit_draws import cluster_covariance
from app.core.calibration.fit_ridge import RidgeChoice, choose_ridge
from app.core.calibration.parts import LinearHead
from app.core.calibration.words import WORD_FEATURE
from app.core.errors import CalibrationError
from app.core.types import FloatArray
from training.retrieval_set import RowArray


@dataclass(frozen=True, slots=True, eq=False)
class HeadData:
    """Rows that one head is fitted on.

    Attributes:
        columns: Feature name to values.
        relevant: 0 or 1.
        weights: Weight of every row.
        offsets: One 0-1 column for every source with a level of its own, shape (n, sources).
        documents: Number of the document of every row; its rows are never in two folds.
        folds: Number of folds of the cross-validation.
        seed: Decides which documents share a fold.
    """

    columns: Mapping[str, FloatArray]
    relevant: FloatArray
    weights: FloatArray
    offsets: FloatArray
    documents: RowArray
    folds: int
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class FittedHead:
    """A head with what the fit says about itself.

    Attributes:
        head: The parameters that are served.
        fit: The fit, offsets included.
        ridge: The penalty that cross-validation chose.
        cross_validated_nll: Ridge to weighted mean NLL on the folds left out.
    """

    head: LinearHead
    fit: LogisticFit
    ridge: float
    cross_validated_nll: Mapping[float, float]


def fit_head(data: HeadData, features: Sequence[str], ridges: Sequence[float]) -> FittedHead:
    """Fit one head with the ridge that cross-validation over documents likes best.

    Where there is one candidate it is taken, without cross-validation. A feature whose weight
    would be against its law, as chance has it where the feature says little, is left out.
    """
    design = design_of(data, features)
    choice = choose(data, design, ridges)
    fit = fit_design(data, design, choice.penalty)
    served = [*range(len(features)), design.shape[1]]
    covariance = cluster_covariance(
        design,
        data.relevant,
        data.documents,
        fit,
        ridge=choice.penalty.ridge,
        weights=data.weights,
    )[np.ix_(served, served)]
    head = LinearHead(
        features=tuple(features),
        coef=tuple(fit.coef[: len(features)].tolist()),
        intercept=fit.intercept,
        covariance=tuple(tuple(row[: n + 1].tolist()) for n, row in enumerate(covariance)),
    )
    if wrong := against_their_law(head):
        return fit_head(data, [name for name in features if name not in wrong], ridges)
    if not head.weight("score") > 0.0:
        if WORD_FEATURE in features:  # of an encoder that says less than words
            return fit_head(data, [name for name in features if name != WORD_FEATURE], ridges)
        raise CalibrationError(
            "The fitted probability does not rise with the score: the judged hits say that "
            "better scores are less relevant. Look at the encoder and at the judgements."
        )
    return FittedHead(head, fit, choice.penalty.ridge, choice.nll)


def design_of(data: HeadData, features: Sequence[str]) -> FloatArray:
    """Return features, then offsets and slopes of sources with a level of their own, (n, f)."""
    x = np.column_stack([data.columns[name] for name in features])
    return np.column_stack([x, data.offsets, *_own_slopes(x, features, data.offsets)])


def choose(data: HeadData, design: FloatArray, ridges: Sequence[float]) -> RidgeChoice:
    """Return the ridge with which a design predicts other documents best."""
    return choose_ridge(
        design,
        data.relevant,
        data.documents,
        ridges,
        weights=data.weights,
        folds=data.folds,
        seed=data.seed,
    )


def fit_design(data: HeadData, design: FloatArray, penalty: Penalty) -> LogisticFit:
    """Return the fit of a design."""
    return fit_logistic(design, data.relevant, penalty=penalty, weights=data.weights)


def _own_slopes(x: FloatArray, features: Sequence[str], offsets: FloatArray) -> list[FloatArray]:
    """Return columns that leave nothing to sources with a level of their own but ``same``.

    A head without that feature, which cannot tell the relations apart, gets none: it is to learn
    from hits of both.
    """
    if "same" not in features:
        return []
    return [
        offsets * x[:, [number]]
        for number, name in enumerate(features)
        if not name.startswith("same")
    ]
