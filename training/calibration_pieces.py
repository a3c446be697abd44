"""Fits the line in pieces that the heads of a calibrator read the score through.

The knots are quantiles of the relevant hits, so that each piece holds as many of them. A head whose
score is split at the knots, each part with a weight of its own, says how steep each piece is; what
is left of it is that shape. The heads are fitted afterwards, on scores that are read through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.core.calibration.score_pieces import ScorePieces
from app.core.errors import CalibrationError
from app.core.types import FloatArray
from training.calibration_heads import HeadData, choose, design_of, fit_design

LEAST_SLOPE = 0.01
"""Of a piece, beside the mean one: a probability rises everywhere, if little."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedPieces:
    """A line in pieces with what the fit says about itself.

    Attributes:
        line: What is served.
        ridge: The penalty that cross-validation chose.
        cross_validated_nll: Ridge to weighted mean NLL on the folds left out.
    """

    line: ScorePieces
    ridge: float
    cross_validated_nll: Mapping[float, float]


def line_of(fitted: FittedPieces | None) -> ScorePieces | None:
    """Return what the heads read the score through; ``None`` for the score itself."""
    return None if fitted is None else fitted.line


def fit_pieces(
    data: HeadData, features: Sequence[str], pieces: int, ridges: Sequence[float]
) -> FittedPieces:
    """Fit a line in pieces beside the other features of a head.

    A piece in which better scores would count against a hit is nearly level.

    Args:
        data: What the head is fitted on; its scores as they are.
        features: Of the head, with ``score``.
        pieces: How many, at least 2; fewer where that many scores are alike.
        ridges: As in ``fit_head``.

    Raises:
        CalibrationError: The hits cannot be fitted, none is relevant, all scores are alike, or the
            probability falls with the score in every piece.
    """
    score = data.columns["score"]
    relevant = data.relevant > 0.0
    if not relevant.any():
        raise CalibrationError("A line in pieces cannot be fitted: 0 relevant hits were found.")
    inner = np.unique(np.quantile(score[relevant], np.arange(1, pieces) / pieces))
    knots = inner[(inner > score.min()) & (inner < score.max())]
    if not len(knots):
        raise CalibrationError("A line in pieces cannot be fitted: the scores are all alike.")
    parts = {f"score:{number}": part for number, part in enumerate(split(score, knots))}
    whole = replace(data, columns={**data.columns, **parts})
    rest = [name for name in features if name != "score"]
    rising = [*parts]
    choice = choose(whole, design_of(whole, [*rising, *rest]), ridges)
    while rising:
        fit = fit_design(whole, design_of(whole, [*rising, *rest]), choice.penalty)
        weights = dict(zip(rising, fit.coef, strict=False))
        worst = min(weights, key=weights.__getitem__)
        if weights[worst] > 0.0:
            slopes = np.array([weights.get(name, 0.0) for name in parts])
            slopes = np.maximum(slopes / slopes.mean(), LEAST_SLOPE)
            line = ScorePieces(knots=tuple(knots.tolist()), slopes=tuple(slopes.tolist()))
            return FittedPieces(line, choice.penalty.ridge, choice.nll)
        rising.remove(worst)
    raise CalibrationError(
        "The fitted probability does not rise with the score in any piece of it: the judged hits "
        "say that better scores are less relevant. Look at the encoder and at the judgements."
    )


def split(score: FloatArray, knots: FloatArray) -> FloatArray:
    """Return the parts of scores between knots, shape (knots + 1, n).

    Args:
        score: Shape (n,).
        knots: Ascending.
    """
    low = np.concatenate([[-np.inf], knots])[:, None]
    high = np.concatenate([knots, [np.inf]])[:, None]
    parts: FloatArray = np.clip(score, low, high)
    return parts
