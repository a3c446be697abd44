"""Served hybrid lists: the nearest passages, and those whose words fit the query best.

Judged are the hits among the first ``DEPTH`` of either order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.core.calibration.lists import HitFeatures, background_score
from app.core.calibration.words import log_lexical_rank
from app.core.search.hybrid import BY_WORDS
from app.core.types import BoolArray, VectorArray
from training.retrieval_set import RetrievalSet, RowArray
from training.search import CosineScorer, best_of, nearest
from training.served import BACKGROUND, DEPTH, HitTable, Lists, serve, stood, table_of
from training.words import WordIndex


@dataclass(frozen=True, slots=True, eq=False)
class HybridHits(HitTable):
    """Judged hits of hybrid lists, one entry a hit.

    Attributes:
        lexical_rank: 1-based; 0 of what is not among the first ``BY_WORDS`` by words.
    """

    lexical_rank: RowArray

    def features(self) -> HitFeatures:
        """Return the features of the hit and pooled heads."""
        return self.dense_features(log_lexical_rank(self.lexical_rank))


@dataclass(frozen=True, slots=True, eq=False)
class HybridLists(Lists):
    """Hybrid lists, filled up to equal width.

    Attributes:
        listed: Whether there is a hit, or the list has ended before, shape (queries, width).
        lexical_rank: As ``HybridHits``, of the same shape.
    """

    listed: BoolArray
    lexical_rank: RowArray


def serve_hybrid(  # noqa: PLR0913 - a list is made from a set, its vectors and words, and a pool
    data: RetrievalSet,
    queries: VectorArray,
    passages: VectorArray,
    words: WordIndex,
    *,
    asked: RowArray,
    pool: RowArray,
    judged_only: bool = True,
    answered: bool = True,
) -> HybridHits:
    """Serve queries from a pool as hybrid retrieval would; as ``serve``."""
    lists = hybrid_lists(data, queries, passages, words, asked=asked, pool=pool)
    first = np.arange(lists.rows.shape[1]) < DEPTH
    by_words = (lists.lexical_rank > 0) & (lists.lexical_rank <= DEPTH)
    full, judged = table_of(data, lists, asked=asked, pool=pool, answered=answered)
    full["lexical_rank"] = lists.lexical_rank
    kept = lists.listed & (first | by_words) & (judged | (not judged_only))
    return HybridHits(**{name: column[kept] for name, column in full.items()})


def hybrid_lists(  # noqa: PLR0913 - as ``serve_hybrid``
    data: RetrievalSet,
    queries: VectorArray,
    passages: VectorArray,
    words: WordIndex,
    *,
    asked: RowArray,
    pool: RowArray,
) -> HybridLists:
    """Return the lists of queries from a pool, as many hits of each as a calibrator reads."""
    near = nearest(queries[asked], passages[pool], BACKGROUND.to_rank)
    found = best_of(words.within(asked, pool), (len(asked), len(pool)), BY_WORDS)
    place = np.where(found.scores > 0.0, np.arange(1, found.rows.shape[1] + 1), 0)
    both = near.rows[:, :, None] == found.rows[:, None, :]
    cosine = CosineScorer(queries[asked], passages[pool])
    query = np.repeat(np.arange(len(asked)), found.rows.shape[1])
    of_found = cosine.pairs(query, found.rows.ravel()).reshape(found.rows.shape)
    rows = np.concatenate([near.rows, found.rows], axis=1)
    scores = np.concatenate([near.scores, of_found], axis=1)
    rank = np.concatenate([(both * place[:, None, :]).sum(axis=2), place], axis=1)
    near_listed = np.ones(near.rows.shape, dtype=np.bool_)
    listed = np.concatenate([near_listed, (place > 0) & ~both.any(axis=1)], axis=1)
    order = np.lexsort((rows, np.where(listed, -scores, np.inf)), axis=1)
    rows, scores, rank, listed = (
        np.take_along_axis(each, order, axis=1) for each in (pool[rows], scores, rank, listed)
    )
    return HybridLists(
        rows=rows,
        scores=scores,
        level=np.array([background_score(one, BACKGROUND) for one in near.scores]),
        standings=stood(data, rows, scores, pool, listed=listed),
        listed=listed,
        lexical_rank=rank,
    )


def served(  # noqa: PLR0913 - as ``serve_hybrid``
    data: RetrievalSet,
    queries: VectorArray,
    passages: VectorArray,
    words: WordIndex | None,
    *,
    asked: RowArray,
    pool: RowArray,
    judged_only: bool = True,
    answered: bool = True,
) -> HitTable:
    """Serve queries from a pool: hybrid lists where there are words, else dense ones."""
    options = {"asked": asked, "pool": pool}
    if words is None:
        return serve(data, queries, passages, **options, judged_only=judged_only, answered=answered)
    return serve_hybrid(
        data, queries, passages, words, **options, judged_only=judged_only, answered=answered
    )
