"""Finding passages by their words in a shard of Qdrant Edge.

The engine keeps the words of a passage as a sparse vector beside the dense one, and multiplies
in how rare each word is when it is asked. Everything here raises what the engine raises.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias, cast

import qdrant_edge as qe

from app.adapters.edge.filter import engine_filter
from app.adapters.passage_payload import VECTOR_NAME, WORDS_NAME, point_id
from app.core.lexical import passage_words
from app.core.types import FoundByWords, Passage, PassageWithWords, WordsQuery

MAX_TIED = 1_000
"""Most passages that are fetched to choose by id among equal lexical scores."""

Read: TypeAlias = "Callable[[Collection[qe.PointId]], Mapping[qe.PointId, Passage]]"


def create_words() -> qe.UpdateOperation:
    """Return the operation that lets points have words; where they can already, it does nothing."""
    return qe.UpdateOperation.create_sparse_vector(WORDS_NAME, modifier=qe.Modifier.Idf)


def words_vector(text: str) -> dict[str, qe.SparseVector]:
    """Return the words of a text as a named vector; none where it has no words."""
    words = passage_words(text)
    return {WORDS_NAME: qe.SparseVector(words.ids, words.weights)} if words.ids else {}


def write_words(passages: Sequence[Passage]) -> qe.UpdateOperation:
    """Return the operation that adds their words to stored passages."""
    vectors = ((point_id(passage.id), words_vector(passage.text)) for passage in passages)
    return qe.UpdateOperation.update_vectors(
        [qe.PointVectors(key, cast("qe.Vector", vector)) for key, vector in vectors if vector]
    )


def search_words(shard: qe.EdgeShard, query: WordsQuery, read: Read) -> FoundByWords:
    """Answer a query; best lexical score first, then by id.

    Args:
        shard: Its points hold their words.
        query: What is asked.
        read: Returns the passages of points.
    """
    if not query.words:
        return FoundByWords([], {})
    lexical = _with_ties(shard, query)
    passages = read(lexical.keys())
    best = sorted(lexical, key=lambda key: (-lexical[key], passages[key].id))[: query.limit]
    cosines = _cosines(shard, query, best)
    return FoundByWords(
        [PassageWithWords(passages[key], cosines[key], lexical[key]) for key in best],
        _beside(shard, query),
    )


def _with_ties(shard: qe.EdgeShard, query: WordsQuery) -> dict[qe.PointId, float]:
    """Return the best points, and those that tie with the last one wanted."""
    where = engine_filter(query.where)
    fetched = query.limit + 1
    while True:
        found = _scores(shard, _by_words(query, fetched, where))
        scores = sorted(found.values(), reverse=True)
        if len(found) < fetched or fetched >= MAX_TIED or scores[-1] < scores[query.limit - 1]:
            break
        fetched = min(2 * fetched, MAX_TIED)
    least = scores[: query.limit][-1] if scores else 0.0
    return {key: score for key, score in found.items() if score >= least}


def _cosines(
    shard: qe.EdgeShard, query: WordsQuery, points: Sequence[qe.PointId]
) -> dict[qe.PointId, float]:
    if not points:
        return {}
    request = qe.QueryRequest(
        limit=len(points),
        query=qe.Query.Nearest(query.vector.tolist(), using=VECTOR_NAME),
        filter=_only(points),
        params=qe.SearchParams(exact=True),
    )
    return {key: min(1.0, max(-1.0, score)) for key, score in _scores(shard, request).items()}


def _beside(shard: qe.EdgeShard, query: WordsQuery) -> dict[str, float]:
    if not query.beside:
        return {}
    ids = {cast("qe.PointId", point_id(passage_id)): passage_id for passage_id in query.beside}
    found = _scores(shard, _by_words(query, len(ids), _only(ids)))
    return {ids[key]: score for key, score in found.items()}


def _by_words(query: WordsQuery, limit: int, where: qe.Filter | None) -> qe.QueryRequest:
    words = qe.SparseVector(list(query.words), [1.0] * len(query.words))
    return qe.QueryRequest(
        limit=limit,
        query=qe.Query.Nearest(words, using=WORDS_NAME),
        filter=where,
        params=qe.SearchParams(idf=qe.IdfParams(engine_filter(query.counted))),
    )


def _only(points: Collection[qe.PointId]) -> qe.Filter:
    return qe.Filter(must=[qe.HasIdCondition(set(points))])


def _scores(shard: qe.EdgeShard, request: qe.QueryRequest) -> dict[qe.PointId, float]:
    return {point.id: point.score for point in shard.query(request)}
