"""What calibrators state of hits whose documents they were not fitted on, for every hit.

Documents are dealt into folds; the hits of a fold are stated by fits on the other folds, with the
ridges that the fit on all of them chose. What is promised of a calibrator is measured on this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from app.core.calibration.calibrator import Calibrator, sigmoid
from app.core.calibration.document import EncoderBinding, parse_calibrator
from app.core.calibration.fit_ridge import group_folds
from app.core.types import BoolArray, FloatArray
from training.calibrate import (
    FittedHeads,
    balanced_weights,
    calibrator_text,
    fit_heads,
    fit_hit_head,
)
from training.calibration_config import CalibrationConfig
from training.calibration_data import CalibrationHits
from training.calibration_pieces import line_of
from training.evaluate_calibration import OURS
from training.reference_calibrators import ScoreMap, fit_references
from training.retrieval_set import RowArray


@dataclass(frozen=True, slots=True, eq=False)
class CrossFitted:
    """Probabilities by fits that have not seen the document, one entry a hit.

    Attributes:
        collected: The hits.
        stated: Name of a calibrator to its probabilities of relevance, shape (n,).
        first_hit: P(the first hit is relevant) of hits of rank 1, NaN for others, shape (n,).
    """

    collected: CalibrationHits
    stated: Mapping[str, FloatArray]
    first_hit: FloatArray

    def where(self, mask: BoolArray) -> CrossFitted:
        """Return the hits that a mask selects."""
        return replace(
            self,
            collected=self.collected.where(mask),
            stated={name: p[mask] for name, p in self.stated.items()},
            first_hit=self.first_hit[mask],
        )


def cross_fit(
    collected: CalibrationHits,
    config: CalibrationConfig,
    heads: FittedHeads,
    binding: EncoderBinding,
) -> CrossFitted:
    """State every hit by fits without its document.

    Args:
        collected: The hits.
        config: Of the calibration.
        heads: The fit on all of them, whose ridges are taken over.
        binding: Of the encoder.

    Raises:
        CalibrationError: A fit is impossible without one of the folds.
    """
    hits = collected.hits
    fold = group_folds(hits.cluster, config.folds, config.seed)
    first_hit = np.full(len(hits), np.nan)
    stated: dict[str, FloatArray] = {}
    for number in range(config.folds):
        out = fold == number
        kept = collected.where(~out)
        calibrator = _calibrator(kept, config, heads, binding)
        left_out = hits.where(out)
        methods = {
            OURS: calibrator.hit_probability(left_out.features()),
            **{name: of(left_out.score) for name, of in references(kept).items()},
        }
        for name, probability in methods.items():
            stated.setdefault(name, np.empty(len(hits)))[out] = probability
        best = out & (hits.rank == 1)
        first_hit[best] = calibrator.first_hit_probability(hits.where(best).first_hit_columns())
    return CrossFitted(collected, stated, first_hit)


def state_left_out(
    answered: CalibrationHits, config: CalibrationConfig, like: FittedHeads
) -> FloatArray:
    """State every hit by a fit that has not seen its source, float64 of shape (n,).

    NaN where the other sources hold hits of one class only.

    Args:
        answered: Hits of corpora that hold an answer.
        config: Of the calibration.
        like: The fit on all of them, whose ridges are taken over.
    """
    stated = np.full(len(answered.hits), np.nan)
    for number in np.unique(answered.source):
        mine = answered.source == number
        relevant = answered.hits.relevant[~mine]
        if relevant.all() or not relevant.any():
            continue
        head, pieces = fit_hit_head(answered.where(~mine), config, like=like)
        columns = answered.hits.where(mine).features().columns(line_of(pieces))
        stated[mine] = sigmoid(head.head.logit(columns))
    return stated


def references(collected: CalibrationHits) -> dict[str, ScoreMap]:
    """Fit the calibrators of the score alone on what the hit head is fitted on."""
    answered = collected.where(collected.answered)
    hits = answered.hits
    weights = balanced_weights(answered.source, hits.same)
    return fit_references(hits.score, hits.relevant.astype(np.float64), weights)


def one_list_a_document(
    query: RowArray, document: RowArray, rng: np.random.Generator
) -> tuple[RowArray, RowArray]:
    """Draw one list of each document: lists of one document are not independent.

    Args:
        query: Number of the list of every hit.
        document: Number of its document.
        rng: What decides.

    Returns:
        The documents, and the list of each.
    """
    lists, first = np.unique(query, return_index=True)
    order = rng.permutation(len(lists))
    documents, drawn = np.unique(document[first[order]], return_index=True)
    return documents, lists[order][drawn]


def _calibrator(
    collected: CalibrationHits,
    config: CalibrationConfig,
    like: FittedHeads,
    binding: EncoderBinding,
) -> Calibrator:
    heads = fit_heads(collected, config, like=like)
    answered = collected.where(collected.answered)
    text = calibrator_text(heads, answered, binding=binding, data_sha256="0" * 64, measured={})
    return Calibrator(parse_calibrator(json.loads(text)))
