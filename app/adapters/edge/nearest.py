"""Finding passages by their vectors in a shard of Qdrant Edge: exact scores, ties by id."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import qdrant_edge as qe

from app.adapters.edge.engine import engine_errors, point_number, vector_numbers
from app.adapters.edge.filter import engine_filter
from app.adapters.passage_payload import VECTOR_NAME
from app.core.types import NearestQuery, Passage, ScoredPassage

SEARCH_BEAM = 128
"""Candidates the approximate index keeps while it walks (``hnsw_ef``)."""

OVERSAMPLING = 1.25
"""At least so many times more candidates are taken from int8 vectors than are wanted."""


Read: TypeAlias = "Callable[[Collection[int]], Mapping[int, Passage]]"


def search_nearest(
    shard: qe.EdgeShard, queries: Sequence[NearestQuery], passages: int, read: Read
) -> list[list[ScoredPassage]]:
    """Answer every query in one batch; best score first, then by id.

    One passage more than asked for is fetched: only if it ties with the last one wanted did
    the engine choose among equals, and then the whole tie is fetched, to choose by id. What
    the passages say is not asked for here, but read afterwards if it is not known yet.

    Args:
        shard: The engine's shard.
        queries: What is asked.
        passages: How many it holds.
        read: Returns the passages of points, by the points' numbers.
    """
    limits = [min(query.limit, passages) for query in queries]
    nearest = _nearest(shard, queries, [limit + 1 for limit in limits])
    batches = [
        _with_ties(shard, query, limit, points)
        for query, limit, points in zip(queries, limits, nearest, strict=True)
    ]
    keys = [[point_number(point.id) for point in points] for points in batches]
    found = read({key for batch in keys for key in batch})
    return [
        _ranked([found[key] for key in batch], points)[:limit]
        for batch, points, limit in zip(keys, batches, limits, strict=True)
    ]


def exact_scores(limit: int) -> qe.SearchParams:
    """Return how the best ``limit`` are searched for.

    Quantized vectors are not rescored by default, and their scores are off by up to 0.007. The
    whole beam is rescored; more than that would widen the walk, which is what takes the time.
    """
    oversampling = max(OVERSAMPLING, SEARCH_BEAM / limit)
    return qe.SearchParams(
        hnsw_ef=SEARCH_BEAM,
        quantization=qe.QuantizationSearchParams(rescore=True, oversampling=oversampling),
    )


def _nearest(
    shard: qe.EdgeShard, queries: Sequence[NearestQuery], limits: Sequence[int]
) -> list[list[qe.ScoredPoint]]:
    requests = [
        qe.QueryRequest(
            limit=limit,
            query=qe.Query.Nearest(vector_numbers(query.vector), using=VECTOR_NAME),
            filter=engine_filter(query.where),
            params=exact_scores(limit),
        )
        for query, limit in zip(queries, limits, strict=True)
    ]
    with engine_errors("search"):
        return shard.query_batch(qe.QueryBatchRequest(requests))


def _with_ties(
    shard: qe.EdgeShard, query: NearestQuery, limit: int, points: list[qe.ScoredPoint]
) -> list[qe.ScoredPoint]:
    """Return the nearest points down to the last one that ties with rank ``limit``."""
    fetched = limit + 1
    while len(points) == fetched and _cosine(points[-1]) == _cosine(points[limit - 1]):
        fetched *= 2
        [points] = _nearest(shard, [query], [fetched])
    return points


def _ranked(passages: Sequence[Passage], points: Sequence[qe.ScoredPoint]) -> list[ScoredPassage]:
    """Return hits by score, then by id.

    Args:
        passages: What the points hold.
        points: Best score first, as the engine returns them.
    """
    scores = [_cosine(point) for point in points]
    hits = list(map(ScoredPassage, passages, scores))
    if any(map(operator.le, scores, scores[1:])):
        hits.sort(key=lambda hit: (-hit.score, hit.passage.id))
    return hits


def _cosine(point: qe.ScoredPoint) -> float:
    """Rounding in float32 can put the cosine of equal vectors a hair above 1."""
    score = point.score
    return score if -1.0 <= score <= 1.0 else min(1.0, max(-1.0, score))
