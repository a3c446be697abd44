"""Does the answerable probability tell questions with an answer from those without?

Every question of a set is served twice: from all passages, and from what is left when its answers
are taken out. Not one question at a time, which would be a corpus for each: a tenth of the
questions, with all their translations, lose their answers together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from app.core.calibration.calibrator import Calibrator
from app.core.calibration.fit_ridge import group_folds
from app.core.types import FloatArray
from training.evaluate import EmbeddedSet
from training.metrics.discrimination import auroc, risk_coverage
from training.served import HitTable, concatenate, serve

PARTS = 10
CURVE_POINTS = 101


def serve_without_answers(embedded: EmbeddedSet, *, parts: int = PARTS, seed: int = 0) -> HitTable:
    """Serve every query from the passages that do not answer it, and keep the judged hits.

    Args:
        embedded: The set.
        parts: Into how many parts the questions are split.
        seed: Decides which questions share a part.
    """
    data = embedded.data
    part = group_folds(data.clusters, parts, seed)
    tables = []
    for number in np.unique(part):
        asked = np.flatnonzero(part == number)
        answers = np.concatenate([data.relevant[query] for query in asked])
        pool = np.setdiff1d(np.arange(len(data.passages)), answers)
        tables.append(
            serve(data, embedded.queries, embedded.passages, asked=asked, pool=pool, answered=False)
        )
    return concatenate(tables)


def refusal(answered: FloatArray, unanswered: FloatArray) -> dict[str, Any]:
    """Return how well a probability separates, and what a threshold on it refuses.

    Args:
        answered: Answerable probabilities of queries that have an answer, shape (n,).
        unanswered: Of queries that have none, shape (m,).

    Returns:
        ``auroc``, ``medians`` and ``curve``: thresholds, the share of answered and of unanswered
        queries below each.
    """
    thresholds = np.linspace(0.0, 1.0, CURVE_POINTS)
    both = np.concatenate([answered, unanswered])
    has_answer = np.arange(len(both)) < len(answered)
    return {
        "answered": len(answered),
        "unanswered": len(unanswered),
        "auroc": auroc(both, has_answer.astype(np.float64)),
        "medians": [float(np.median(answered)), float(np.median(unanswered))],
        "curve": {
            "threshold": thresholds.tolist(),
            "answered_refused": _below(answered, thresholds),
            "unanswered_refused": _below(unanswered, thresholds),
        },
    }


def measure_answerable(
    embedded: EmbeddedSet, hits: HitTable, calibrator: Calibrator
) -> dict[str, Any]:
    """Measure refusal on a set, and what is wrong among the questions that are answered.

    Args:
        embedded: The set.
        hits: All its queries, served from all its passages.
        calibrator: Whose answerable probability it is.
    """
    served = [hits, serve_without_answers(embedded)]
    first = [table.where(table.rank == 1) for table in served]
    stated = [calibrator.first_hit_probability(table.first_hit_columns()) for table in first]
    curve = risk_coverage(
        np.concatenate(stated),
        np.concatenate([table.relevant for table in first]).astype(np.float64),
        points=CURVE_POINTS,
    )
    return {
        **refusal(*stated),
        "risk_coverage": {"coverage": curve.coverage.tolist(), "risk": curve.risk.tolist()},
    }


def _below(values: FloatArray, thresholds: FloatArray) -> list[float]:
    shares: list[float] = (np.searchsorted(np.sort(values), thresholds) / len(values)).tolist()
    return shares
