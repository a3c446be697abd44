"""Ranking metrics from the exact ranks of the relevant passages.

Ranks follow the tie rule of ``training/search.py`` and cover the whole pool, so no metric is cut
at the length of a run. A query that finds nothing counts 0; queries are never left out. The
definitions are those of trec_eval; the tests compare them with ir_measures.

Every function takes ``ranks``: float64 of shape (queries, most relevant passages of a query),
1-based, with ``inf`` in the cells that a query does not use, and returns one value a query,
float64 of shape (queries,), NaN for a query without relevant passages.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.core.types import FloatArray
from training.retrieval_set import RowArray


def pad(values: Sequence[RowArray] | Sequence[FloatArray], fill: float = np.inf) -> FloatArray:
    """Return ragged rows as one array, unused cells filled."""
    width = max((len(row) for row in values), default=0)
    table = np.full((len(values), max(width, 1)), fill)
    for row, items in zip(table, values, strict=True):
        row[: len(items)] = items
    return table


def average_precision(ranks: FloatArray) -> FloatArray:
    """Return the mean over relevant passages of the precision at their rank."""
    ordered: FloatArray = np.sort(ranks, axis=1)
    found = np.arange(1, ranks.shape[1] + 1)
    return _divide((found / ordered).sum(axis=1), _count(ranks))


def reciprocal_rank(ranks: FloatArray) -> FloatArray:
    """Return 1 / rank of the first relevant passage."""
    return np.where(_count(ranks) > 0, 1.0 / ranks.min(axis=1), np.nan)


def recall(ranks: FloatArray, k: int) -> FloatArray:
    """Return the share of the relevant passages among the first k."""
    return _divide((ranks <= k).sum(axis=1).astype(np.float64), _count(ranks))


def ndcg(ranks: FloatArray, grades: FloatArray, k: int) -> FloatArray:
    """Return nDCG at k with the grade as gain and log2(rank + 1) as discount.

    Args:
        ranks: As above.
        grades: Grades aligned with ``ranks``, 0 in unused cells.
        k: Cut-off.
    """
    gained: FloatArray = np.where(ranks <= k, grades / np.log2(ranks + 1.0), 0.0).sum(axis=1)
    best = -np.sort(-grades, axis=1)[:, :k]
    ideal = (best / np.log2(np.arange(2, best.shape[1] + 2))).sum(axis=1)
    return _divide(gained, ideal)


def rank_distance(ranks: FloatArray) -> FloatArray:
    """Return the largest minus the smallest rank of the relevant (parallel) passages.

    Elmahdy et al. 2024, after Huang et al. 2023: language bias inside one pool of all languages.
    It grows with the pool; compare it on one corpus only.
    """
    used = np.isfinite(ranks)
    last = np.where(used, ranks, -np.inf).max(axis=1)
    return np.where(used.any(axis=1), last - ranks.min(axis=1), np.nan)


def _count(ranks: FloatArray) -> FloatArray:
    count: FloatArray = np.isfinite(ranks).sum(axis=1).astype(np.float64)
    return count


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    result: FloatArray = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result
