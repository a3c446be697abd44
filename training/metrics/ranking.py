"""Ranking metrics from the exact ranks of the relevant passages.

A query that finds nothing counts 0; queries are never left out. The definitions are those of
trec_eval; the tests compare them with ir_measures and with a committed reference. Ranks rather
than runs are the input because one query is ranked in many pools (its own language, every other
one, all together), whole pools and not only their first thousand passages.

Every function takes ``ranks``: float64 of shape (queries, most relevant passages of a query),
1-based, ``inf`` for a relevant passage that the system did not return, and ``nan`` in the cells
that a query does not use. Every function returns one value a query, float64 of shape (queries,),
NaN for a query without relevant passages.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.core.types import BoolArray, FloatArray
from training.retrieval_set import RowArray


def pad(values: Sequence[RowArray] | Sequence[FloatArray], fill: float = np.nan) -> FloatArray:
    """Return ragged rows as one array, unused cells filled."""
    width = max((len(row) for row in values), default=0)
    table = np.full((len(values), max(width, 1)), fill)
    for row, items in zip(table, values, strict=True):
        row[: len(items)] = items
    return table


def average_precision(ranks: FloatArray) -> FloatArray:
    """Return the mean over relevant passages of the precision at their rank."""
    ordered: FloatArray = np.sort(ranks, axis=1)  # NaN last
    found = np.arange(1, ranks.shape[1] + 1)
    return _divide(np.nansum(found / ordered, axis=1), _count(ranks))


def reciprocal_rank(ranks: FloatArray) -> FloatArray:
    """Return 1 / rank of the first relevant passage."""
    best = np.where(_used(ranks), ranks, np.inf).min(axis=1)
    return np.where(_count(ranks) > 0, 1.0 / best, np.nan)


def recall(ranks: FloatArray, k: int) -> FloatArray:
    """Return the share of the relevant passages among the first k."""
    return _divide((ranks <= k).sum(axis=1).astype(np.float64), _count(ranks))


def ndcg(ranks: FloatArray, grades: FloatArray, k: int) -> FloatArray:
    """Return nDCG at k with the grade as gain and log2(rank + 1) as discount.

    Args:
        ranks: As above.
        grades: Grades aligned with ``ranks``; what unused cells hold does not matter.
        k: Cut-off.
    """
    gains = np.where(_used(ranks), grades, 0.0)
    reached: FloatArray = np.where(ranks <= k, gains / np.log2(ranks + 1.0), 0.0).sum(axis=1)
    best = -np.sort(-gains, axis=1)[:, :k]
    ideal = (best / np.log2(np.arange(2, best.shape[1] + 2))).sum(axis=1)
    return _divide(reached, ideal)


def _used(ranks: FloatArray) -> BoolArray:
    used: BoolArray = ~np.isnan(ranks)
    return used


def _count(ranks: FloatArray) -> FloatArray:
    count: FloatArray = _used(ranks).sum(axis=1).astype(np.float64)
    return count


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    result: FloatArray = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result
