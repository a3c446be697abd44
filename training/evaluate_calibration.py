"""How well probabilities hold on judged hits: by relation, by query language, at rank 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from app.core.calibration.calibrator import Calibrator
from app.core.types import BoolArray, FloatArray
from training.evaluate import EmbeddedSet
from training.metrics.calibration import measure
from training.served import HitTable, serve

HitsToProbability: TypeAlias = Callable[[HitTable], FloatArray]

OURS = "logit-linear"
MIN_HITS = 200
"""Groups with fewer hits are left out: their numbers would be noise."""


def serve_all(embedded: EmbeddedSet) -> HitTable:
    """Serve every query of a set from the pool of all its languages."""
    data = embedded.data
    return serve(
        data,
        embedded.queries,
        embedded.passages,
        asked=np.arange(len(data.queries)),
        pool=np.arange(len(data.passages)),
    )


def ours(calibrator: Calibrator) -> HitsToProbability:
    """Return the calibrator as a function of hits whose languages are known."""

    def probability(hits: HitTable) -> FloatArray:
        return calibrator.hit_probability(hits.features())

    return probability


def by_score(method: Callable[[FloatArray], FloatArray]) -> HitsToProbability:
    """Return a calibrator of the score alone as a function of hits."""

    def probability(hits: HitTable) -> FloatArray:
        return method(hits.score)

    return probability


def measure_groups(
    hits: HitTable, methods: Mapping[str, HitsToProbability], *, languages: bool = False
) -> dict[str, dict[str, Any]]:
    """Measure methods on groups of hits.

    Args:
        hits: Judged hits.
        methods: Name to method.
        languages: Also measure every query language in each relation.

    Returns:
        Group (``all``, ``same``, ``cross``, ``rank 1``, ``same/rank 1``, ``cross/rank 1``,
        ``same/de``, ...) to method to measures, as JSON.
    """
    results: dict[str, dict[str, Any]] = {}
    for group, mask in _groups(hits, languages=languages).items():
        selected = hits.where(mask)
        if len(selected) < MIN_HITS:
            continue
        results[group] = {
            name: measure(method(selected), selected.relevant, selected.cluster).to_json()
            for name, method in methods.items()
        }
    return results


def measure_first_hit(hits: HitTable, calibrator: Calibrator) -> dict[str, Any]:
    """Measure the answerable probability of the first hits."""
    first = hits.where(hits.rank == 1)
    probability = calibrator.first_hit_probability(first.first_hit_columns())
    return measure(probability, first.relevant, first.cluster).to_json()


def _groups(hits: HitTable, *, languages: bool) -> dict[str, BoolArray]:
    relations = {"same": hits.same, "cross": ~hits.same}
    first = hits.rank == 1
    groups: dict[str, BoolArray] = {"all": np.ones(len(hits), dtype=np.bool_), **relations}
    groups |= {"rank 1": first}
    groups |= {f"{name}/rank 1": mask & first for name, mask in relations.items()}
    if languages:
        for code in np.unique(hits.query_language):
            asked = hits.query_language == code
            groups |= {f"{name}/{code}": mask & asked for name, mask in relations.items()}
    return groups
