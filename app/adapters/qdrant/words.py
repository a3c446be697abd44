"""Finding passages by their words on a Qdrant server.

The server keeps the words of a passage as a sparse vector beside the dense one, and multiplies
in how rare each word is when it is asked. It counts that in each shard by itself, and forgets
deleted passages only when it optimizes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from qdrant_client import models

from app.adapters.passage_payload import VECTOR_NAME, WORDS_NAME, point_id
from app.adapters.qdrant.connection import QdrantConnection
from app.adapters.qdrant.filter import server_filter
from app.adapters.qdrant.records import point_passage
from app.core.lexical import passage_words
from app.core.types import FoundByWords, Passage, PassageWithWords, WordsQuery

MAX_TIED = 1_000
"""Most passages that are fetched to choose by id among equal lexical scores."""


def words_vector(text: str) -> dict[str, Any]:
    """Return the words of a text as a named vector; none where it has no words."""
    words = passage_words(text)
    if not words.ids:
        return {}
    return {WORDS_NAME: models.SparseVector(indices=words.ids, values=words.weights)}


class QdrantWords:
    """The words of one collection, every point of which holds its own.

    Args:
        connection: To the server.
        collection: Name of the collection on the server.
    """

    def __init__(self, connection: QdrantConnection, collection: str) -> None:
        self._call = connection.call
        self._collection = collection

    async def search(self, queries: Sequence[WordsQuery]) -> list[FoundByWords]:
        """Answer every query; best lexical score first, then by id."""
        return [await self._answer(query) if query.words else NOTHING for query in queries]

    async def write(self, passages: Sequence[Passage]) -> None:
        """Add their words to stored passages."""
        vectors = ((str(point_id(p.id)), words_vector(p.text)) for p in passages)
        points = [models.PointVectors(id=key, vector=vector) for key, vector in vectors if vector]
        if points:
            await self._call("index words", lambda c: c.update_vectors(self._collection, points))

    async def _answer(self, query: WordsQuery) -> FoundByWords:
        ids = {str(point_id(passage_id)): passage_id for passage_id in query.beside}
        asked = [_by_words(query, query.limit + 1, server_filter(query.where), payload=True)]
        if ids:
            asked.append(_by_words(query, len(ids), _only(ids)))
        found, *beside = await self._ask(asked)
        found = await self._with_ties(query, found)
        hits = [(point_passage(point), point) for point in found]
        hits.sort(key=lambda hit: (-hit[1].score, hit[0].id))
        best = hits[: query.limit]
        cosines = await self._cosines(query, [str(point.id) for _, point in best])
        return FoundByWords(
            [PassageWithWords(p, cosines[str(point.id)], point.score) for p, point in best],
            {ids[str(point.id)]: point.score for points in beside for point in points},
        )

    async def _with_ties(
        self, query: WordsQuery, found: list[models.ScoredPoint]
    ) -> list[models.ScoredPoint]:
        """Return the best points, and those that tie with the last one wanted."""
        where = server_filter(query.where)
        fetched = query.limit + 1
        while len(found) == fetched < MAX_TIED and found[-1].score == found[query.limit - 1].score:
            fetched = min(2 * fetched, MAX_TIED)
            [found] = await self._ask([_by_words(query, fetched, where, payload=True)])
        return found

    async def _cosines(self, query: WordsQuery, keys: Sequence[str]) -> Mapping[str, float]:
        if not keys:
            return {}
        nearest = models.QueryRequest(
            query=query.vector.tolist(),
            using=VECTOR_NAME,
            limit=len(keys),
            filter=_only(keys),
            params=models.SearchParams(exact=True),
        )
        [points] = await self._ask([nearest])
        return {str(point.id): min(1.0, max(-1.0, point.score)) for point in points}

    async def _ask(self, asked: list[models.QueryRequest]) -> list[list[models.ScoredPoint]]:
        answers = await self._call(
            "search by words", lambda c: c.query_batch_points(self._collection, asked)
        )
        return [answer.points for answer in answers]


NOTHING = FoundByWords([], {})
"""The answer to a query without words."""


def _by_words(
    query: WordsQuery, limit: int, where: models.Filter | None, *, payload: bool = False
) -> models.QueryRequest:
    counted = server_filter(query.counted)
    corpus = None if counted is None else models.IdfCorpusParams(corpus=counted)
    return models.QueryRequest(
        query=models.SparseVector(indices=list(query.words), values=[1.0] * len(query.words)),
        using=WORDS_NAME,
        limit=limit,
        filter=where,
        params=None if corpus is None else models.SearchParams(idf=corpus),
        with_payload=payload,
    )


def _only(keys: Collection[str]) -> models.Filter:
    return models.Filter(must=[models.HasIdCondition(has_id=list(keys))])
