"""Thresholds for a calibrator of one's own, chosen on the judgements that it was fitted on.

Those of the calibrator to begin with are not taken over: they promise something of that one, on
other people's questions. What is promised anew is the same share, where the labels suffice.
"""

from __future__ import annotations

import numpy as np

from app.core.calibration.document import CalibratorDocument
from app.core.calibration.fit_thresholds import (
    ANSWER_CONFIDENCE,
    ANSWER_TARGET,
    HIDDEN_TARGET,
    answer_threshold,
    hit_threshold,
)
from app.core.calibration.judged import JudgedHits
from app.core.calibration.parts import Thresholds
from app.core.calibration.refit_heads import Predicted


def choose_thresholds(
    base: CalibratorDocument, hits: JudgedHits, predicted: Predicted, data: str
) -> tuple[Thresholds, str]:
    """Return thresholds that keep the promises of the calibrator to begin with, and what was done.

    Args:
        base: Whose promises are made again.
        hits: The judged hits.
        predicted: Their probabilities by fits that have not seen them.
        data: Which judgements those are, as a person should read it.
    """
    sample = hits.sample
    if len(np.unique(sample.weights)) > 1:
        return Thresholds(), (
            "No threshold: these hits were picked for judging with different chances, and a "
            "threshold promises something of questions as they come."
        )
    answer, shown = base.thresholds.answer, base.thresholds.hits
    relevant, first = sample.relevant > 0.0, hits.first
    scope = f"{data}: questions whose first hit was judged, predicted by fits without them"
    chosen = Thresholds(
        answer=answer_threshold(
            predicted.first_hit[first],
            relevant[first],
            target=answer.target if answer else ANSWER_TARGET,
            confidence=(answer.confidence if answer else None) or ANSWER_CONFIDENCE,
            scope=scope,
        ),
        hits=hit_threshold(
            predicted.hit,
            relevant,
            sample.query,
            target=shown.target if shown else HIDDEN_TARGET,
            scope=f"{data}: questions with a relevant hit, predicted by fits without them",
        ),
    )
    return chosen, _said(chosen, int(first.sum()))


def _said(chosen: Thresholds, questions: int) -> str:
    found = {"answerable_probability": chosen.answer, "probability": chosen.hits}
    said = [f"{name} {t.value:.2f}: {t.guarantee}" for name, t in found.items() if t]
    if chosen.answer is None:
        said.append(
            f"No answer threshold: {questions} questions whose first hit was judged do not suffice "
            "for its promise, or too many of the first hits are wrong."
        )
    return "Thresholds, chosen on these judgements. " + " ".join(said)
