"""Fits the hit head of hybrid lists: words count in the query's language, and nowhere else.

Between languages the head is the one that is fitted without words. Within one it is fitted anew on
same-language hits, with the lexical rank, and drawn towards the other as far as the laws of
probabilities need; with real sets that is hardly at all. A common fit would let the sources with
judgements in several languages, whose levels are their own, say what words are worth: on sources
left out it promises a third to a half too few hits in other languages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.core.calibration.document import against_their_law
from app.core.calibration.fit import LinearLogit, Penalty, fit_logistic
from app.core.calibration.fit_draws import cluster_covariance
from app.core.calibration.fit_ridge import choose_ridge
from app.core.calibration.parts import LinearHead
from app.core.calibration.words import WORD_FEATURE
from app.core.errors import CalibrationError
from app.core.types import FloatArray
from training.calibration_heads import FittedHead, HeadData

_STRONGEST = 1e12


def fit_with_words(base: FittedHead, data: HeadData, ridges: Sequence[float]) -> FittedHead:
    """Return a head that is ``base`` between languages, and fitted with words within one.

    Args:
        base: Fitted without words on hits of both relations.
        data: Same-language hits of sources whose level is served.
        ridges: Candidates for the penalty of the fit on them.

    Raises:
        CalibrationError: The fit is impossible.
    """
    features = [*(name for name in base.head.features if "same" not in name), WORD_FEATURE]
    return joined(base, _fit_within(base.head, data, features, ridges))


def _fit_within(
    base: LinearHead, data: HeadData, features: Sequence[str], ridges: Sequence[float]
) -> FittedHead:
    design = np.column_stack([data.columns[name] for name in features])
    level = base.intercept + base.weight("same")
    weights = [base.weight(name) + base.weight(f"same*{name}") for name in features]
    towards = LinearLogit(np.array(weights), level)
    choice = choose_ridge(
        design,
        data.relevant,
        data.documents,
        ridges,
        penalty=Penalty(towards=towards),
        weights=data.weights,
        folds=data.folds,
        seed=data.seed,
    )
    ridge = choice.penalty.ridge
    while True:
        penalty = replace(choice.penalty, ridge=ridge)
        fit = fit_logistic(design, data.relevant, penalty=penalty, weights=data.weights)
        head = LinearHead(
            features=tuple(features), coef=tuple(fit.coef.tolist()), intercept=fit.intercept
        )
        if _is_lawful(head):
            break
        if ridge > _STRONGEST:
            raise CalibrationError("The fit did not come near the head without words.")
        ridge = max(10.0 * ridge, 1.0)
    covariance = cluster_covariance(
        design, data.relevant, data.documents, fit, ridge=ridge, weights=data.weights
    )
    spread = tuple(tuple(row[: n + 1].tolist()) for n, row in enumerate(covariance))
    chosen = choice.penalty.ridge  # which fits on parts of the data take over
    return FittedHead(head.model_copy(update={"covariance": spread}), fit, chosen, choice.nll)


def _is_lawful(head: LinearHead) -> bool:
    falls = head.weight("log_language_rank") <= 0.0 < head.weight("score")
    return falls and not against_their_law(head)


def joined(cross: FittedHead, same: FittedHead) -> FittedHead:
    """Return one head that is ``cross`` between languages, and ``same`` within one.

    The second is written as what it differs by from the first: as weights of products with
    ``same``. The two were fitted apart, so their parameters do not covary.

    Args:
        cross: Fitted on hits of both relations.
        same: Fitted on same-language hits, without the feature ``same``.
    """
    names = [n for n in cross.head.features if "same" not in n]
    names += [n for n in same.head.features if n not in names]
    features = [*names, *(f"same*{n}" for n in names), "same"]
    ours, theirs = _picked(cross.head, names), _picked(same.head, names)
    nothing = np.zeros((len(ours), theirs.shape[1]))
    # Weights and level of the first, then what those of the second differ by; the level comes last.
    by = np.block([[ours, nothing], [-ours, theirs]])
    by = np.concatenate([np.delete(by, len(names), axis=0), by[[len(names)]]])
    heads = cross.head, same.head
    found = by @ np.concatenate([[*head.coef, head.intercept] for head in heads])
    spread = np.zeros((by.shape[1], by.shape[1]))
    edge = ours.shape[1]
    spread[:edge, :edge], spread[edge:, edge:] = (head.covariance_matrix() for head in heads)
    covariance = by @ spread @ by.T
    head = LinearHead(
        features=tuple(features),
        coef=tuple(found[:-1].tolist()),
        intercept=float(found[-1]),
        covariance=tuple(tuple(row[: n + 1].tolist()) for n, row in enumerate(covariance)),
    )
    return replace(same, head=head)


def _picked(head: LinearHead, names: Sequence[str]) -> FloatArray:
    """Return what picks the weights of features, and the level last, out of the parameters."""
    picked = np.zeros((len(names) + 1, len(head.coef) + 1))
    for row, name in enumerate(names):
        if name in head.features:
            picked[row, head.features.index(name)] = 1.0
    picked[-1, -1] = 1.0
    return picked
