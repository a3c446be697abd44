"""What a study reports of one cell.

Everything with an interval is kept as sums by parallel question, so that the bootstrap of any
difference between cells is one matrix product and needs no encoder; see ``analysis.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.core.types import BoolArray, FloatArray
from training.metrics import language_bias, ranking
from training.metrics.calibration import BINS, equal_mass_bins
from training.retrieval_set import RowArray
from training.study.calibrators import METHODS
from training.study.evaluation_set import EvaluationSet
from training.study.protocols import Stated
from training.study.serving import Served

RETRIEVAL = ("mono/map", "cross/map", "multi/map", "rank_distance", "lpr@1", "first_is_same")
MIN_PAIR_HITS = 200
_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class PairSums:
    """Sums over hits by parallel question and language pair.

    Attributes:
        count: Hits, (clusters, pairs).
        relevant: Relevant hits, (clusters, pairs).
        expected: Sum of probabilities, (methods, clusters, pairs).
        loss: Sum of negative log-likelihoods, (methods, clusters, pairs).
    """

    count: FloatArray
    relevant: FloatArray
    expected: FloatArray
    loss: FloatArray


def retrieval_values(evaluation: EvaluationSet, served: Served) -> dict[str, FloatArray]:
    """Return one value a query for every name in ``RETRIEVAL``.

    mAP as in ``training.evaluate``; ``cross/map`` of a query is its mean over passage languages.
    Rank distance (Elmahdy et al. 2024) is the largest minus the smallest rank of its relevant
    passages in the pool of all languages; LPR@1 says whether the first of them is in its language.
    """
    asked = evaluation.asked[:, None]
    same = served.language == asked
    cross = []
    for number in range(len(evaluation.languages)):
        cells = (served.language == number) & ~same
        cross.append(ranking.average_precision(np.where(cells, served.inside, np.nan)))
    first = served.overall.argmin(axis=1)
    overall = np.where(served.language >= 0, served.overall, np.nan)
    own = served.language[np.arange(len(first)), first] == evaluation.asked
    foreign = np.array(cross)
    counted = np.isfinite(foreign).sum(axis=0)
    total = np.nansum(foreign, axis=0)
    return {
        "mono/map": ranking.average_precision(np.where(same, served.inside, np.nan)),
        "cross/map": np.where(counted > 0, total / np.maximum(counted, 1), np.nan),
        "multi/map": ranking.average_precision(overall),
        "rank_distance": language_bias.rank_distance(overall, served.language),
        "lpr@1": own.astype(np.float64),
        "first_is_same": (evaluation.spoken[served.rows[:, 0]] == evaluation.asked).astype(float),
    }


def retrieval_table(
    evaluation: EvaluationSet, values: Mapping[str, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return sums and counts by (metric, parallel question, query language)."""
    shape = (int(evaluation.clusters.max()) + 1, len(evaluation.languages))
    index = evaluation.clusters * shape[1] + evaluation.asked
    sums, counts = [], []
    for name in RETRIEVAL:
        finite = np.isfinite(values[name])
        weight = np.where(finite, values[name], 0.0)
        sums.append(_totals(index, weight, shape))
        counts.append(_totals(index, finite.astype(np.float64), shape))
    return np.array(sums), np.array(counts)


def pair_sums(stated: Stated, *, clusters: int, languages: int) -> PairSums:
    """Return the sums that every calibration outcome with an interval is made of."""
    hits, shape = stated.hits, (clusters, languages**2)
    index = hits.cluster * shape[1] + hits.pair(languages)
    y = hits.relevant.astype(np.float64)

    def total(values: FloatArray) -> FloatArray:
        return _totals(index, values, shape)

    return PairSums(
        count=total(np.ones(len(hits))),
        relevant=total(y),
        expected=np.array([total(stated.probability[name]) for name in METHODS]),
        loss=np.array([total(_loss(stated.probability[name], y)) for name in METHODS]),
    )


def calibration_table(stated: Stated, *, languages: int) -> dict[str, Any]:
    """Return points without interval by relation and method, with reliability diagrams."""
    hits = stated.hits
    first = hits.rank == 1
    groups = {
        "all": np.ones(len(hits), np.bool_),
        "same": hits.same,
        "cross": ~hits.same,
        "same/rank 1": hits.same & first,
        "cross/rank 1": ~hits.same & first,
    }
    return {
        group: {
            "hits": int(mask.sum()),
            "relevant": int(hits.relevant[mask].sum()),
            "methods": {
                name: _measured(p[mask & np.isfinite(p)], hits.relevant[mask & np.isfinite(p)])
                | {"ece_inside_pairs": _ece_inside_pairs(stated, name, mask, languages)}
                for name, p in stated.probability.items()
                if (mask & np.isfinite(p)).any()
            },
        }
        for group, mask in groups.items()
    }


def _measured(p: FloatArray, relevant: BoolArray) -> dict[str, Any]:
    y = relevant.astype(np.float64)
    count, stated, observed = _bins(p, y)
    return {
        "hits": len(p),
        "nll": float(_loss(p, y).mean()),
        "brier": float(((p - y) ** 2).mean()),
        "expected_observed": float(p.sum() / y.sum()) if y.any() else None,
        "ece": float(np.abs(stated - observed).sum() / len(p)),
        "diagram": {
            "stated": (stated / count).tolist(),
            "observed": (observed / count).tolist(),
            "hits": count.tolist(),
        },
    }


def _bins(p: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return count, sum of p and sum of y of the bins of equal mass that are not empty."""
    number = equal_mass_bins(p)
    count, stated, observed = (
        _totals(number, values, (1, BINS))[0] for values in (np.ones(len(p)), p, y)
    )
    used = count > 0
    return count[used], stated[used], observed[used]


def _ece_inside_pairs(stated: Stated, name: str, mask: BoolArray, languages: int) -> float | None:
    """Return the mean over language pairs of their ECE; small pairs are left out."""
    p = stated.probability[name]
    used = np.flatnonzero(mask & np.isfinite(p))
    pairs = stated.hits.pair(languages)[used]
    y = stated.hits.relevant.astype(np.float64)
    errors = []
    for pair in np.unique(pairs):
        rows = used[pairs == pair]
        if len(rows) >= MIN_PAIR_HITS:
            _, expected, observed = _bins(p[rows], y[rows])
            errors.append(float(np.abs(expected - observed).sum() / len(rows)))
    return float(np.mean(errors)) if errors else None


def _totals(index: RowArray, values: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Return the sum of the values at every index, as a table."""
    totals = np.bincount(index, values, shape[0] * shape[1]).astype(np.float64)
    return totals.reshape(shape)


def _loss(p: FloatArray, y: FloatArray) -> FloatArray:
    clipped = np.clip(p, _TINY, 1.0 - _TINY)
    loss: FloatArray = -(y * np.log(clipped) + (1.0 - y) * np.log1p(-clipped))
    return loss
