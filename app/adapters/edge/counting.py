"""Counting the points of a shard of Qdrant Edge: exactly, and no more often than needed."""

from __future__ import annotations

from collections.abc import Callable

import qdrant_edge as qe

from app.adapters.edge.engine import engine_errors
from app.adapters.edge.filter import engine_filter
from app.adapters.passage_payload import field_key
from app.core.types import FieldKind, Filter, PassageFilter

KEPT_COUNTS = 256
"""Filters whose passages per language are remembered until the next write."""


def count_points(shard: qe.EdgeShard, where: PassageFilter) -> int:
    """Return the exact number of eligible points."""
    request = qe.CountRequest(exact=True, filter=engine_filter(where))
    with engine_errors("count passages"):
        return shard.count(request)


def count_values(
    shard: qe.EdgeShard, field: str, kind: FieldKind, where: PassageFilter, limit: int
) -> dict[str | int | bool, int]:
    """Return the exact number of eligible points per value of a field, most frequent first."""
    request = qe.FacetRequest(
        field_key(field), limit=limit, exact=True, filter=engine_filter(where)
    )
    with engine_errors("count values"):
        hits = shard.facet(request).hits
    # The engine goes on listing values of which nothing is left.
    counts = sorted((-hit.count, hit.value) for hit in hits if hit.count > 0)
    return {(value == "true" if kind == "bool" else value): -count for count, value in counts}


class KeptCounts:
    """Passages per language by filter, until the next write.

    Counting takes the engine longer than searching does, and is asked for as often.
    """

    def __init__(self) -> None:
        self._kept: dict[Filter | None, dict[str, int]] = {}

    def get(
        self, condition: Filter | None, count: Callable[[Filter | None], dict[str, int]]
    ) -> dict[str, int]:
        """Return what ``count`` says of a filter, or said since the last write."""
        counts = self._kept.get(condition)
        if counts is None:
            counts = count(condition)
            if len(self._kept) >= KEPT_COUNTS:
                del self._kept[next(iter(self._kept))]
            self._kept[condition] = counts
        return counts

    def clear(self) -> None:
        """Forget everything: there has been a write."""
        self._kept.clear()
