"""Finding passages by their vectors on a Qdrant server: exact scores, ties by id."""

from __future__ import annotations

from collections.abc import Sequence

from qdrant_client import models

from app.adapters.passage_payload import VECTOR_NAME
from app.adapters.qdrant.collection import MAX_POINTS, SEARCH_BEAM
from app.adapters.qdrant.connection import QdrantConnection
from app.adapters.qdrant.filter import server_filter
from app.adapters.qdrant.records import chunks, point_passage
from app.core.types import NearestQuery, ScoredPassage

QUERY_CHUNK = 64
"""Queries of one request."""

OVERSAMPLING = 2.0
"""How many times more candidates are taken from int8 vectors than are rescored exactly."""

# Quantized vectors are not rescored by default, and their scores are off by up to 0.007.
_EXACT_SCORES = models.SearchParams(
    hnsw_ef=SEARCH_BEAM,
    quantization=models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING),
)


class QdrantNearest:
    """The vectors of one collection.

    Args:
        connection: To the server.
        collection: Name of the collection on the server.
    """

    def __init__(self, connection: QdrantConnection, collection: str) -> None:
        self._call = connection.call
        self._collection = collection

    async def search(self, queries: Sequence[NearestQuery]) -> list[list[ScoredPassage]]:
        """Answer every query; best score first, then by id.

        One passage more than asked for is fetched: only if it ties with the last one wanted did
        the engine choose among equals, and then the whole tie is fetched, to choose by id.
        """
        found: list[list[ScoredPassage]] = []
        for chunk in chunks(queries, QUERY_CHUNK):
            limits = [min(query.limit, MAX_POINTS - 1) for query in chunk]
            batches = await self._nearest(chunk, [limit + 1 for limit in limits])
            for query, limit, points in zip(chunk, limits, batches, strict=True):
                found.append(await self._rank(query, limit, points))
        return found

    async def _nearest(
        self, queries: Sequence[NearestQuery], limits: Sequence[int]
    ) -> list[list[models.ScoredPoint]]:
        requests = [
            models.QueryRequest(
                query=query.vector.tolist(),
                using=VECTOR_NAME,
                limit=limit,
                filter=server_filter(query.where),
                params=_EXACT_SCORES,
                with_payload=True,
            )
            for query, limit in zip(queries, limits, strict=True)
        ]
        answers = await self._call(
            "search", lambda c: c.query_batch_points(self._collection, requests)
        )
        return [answer.points for answer in answers]

    async def _rank(
        self, query: NearestQuery, limit: int, points: list[models.ScoredPoint]
    ) -> list[ScoredPassage]:
        fetched = limit + 1
        while len(points) == fetched < MAX_POINTS and _cosine(points[-1]) == _cosine(
            points[limit - 1]
        ):
            fetched = min(fetched * 2, MAX_POINTS)
            [points] = await self._nearest([query], [fetched])
        hits = [ScoredPassage(point_passage(point), _cosine(point)) for point in points]
        hits.sort(key=lambda hit: (-hit.score, hit.passage.id))
        return hits[:limit]


def _cosine(point: models.ScoredPoint) -> float:
    """Rounding in float32 can put the cosine of equal vectors a hair above 1."""
    return min(1.0, max(-1.0, point.score))
