"""The candidates of searches: one call of the store for all, or two where words are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from app.core.ports import PassageStore
from app.core.search.balance import queries_by_language
from app.core.search.hybrid import joined, words_query
from app.core.search.judging import merge
from app.core.search.tasks import SearchTask
from app.core.types import NearestQuery, ScoredPassage


async def find(
    store: PassageStore, tasks: Sequence[SearchTask], *, depth: int
) -> list[list[ScoredPassage]]:
    """Return the candidates of every task; those by words note their lexical scores.

    Args:
        store: Holds the passages.
        tasks: Searches whose queries are encoded.
        depth: Candidates of each, unless it asks for more.
    """
    batches = [_queries(task, depth) for task in tasks]
    found = iter(await store.search([query for batch in batches for query in batch]))
    candidates = [merge(islice(found, len(batch))) for batch in batches]
    await _add_words(store, tasks, candidates)
    return candidates


async def _add_words(
    store: PassageStore, tasks: Sequence[SearchTask], candidates: list[list[ScoredPassage]]
) -> None:
    """Add what is found by words, where that is asked for, and what words say of the rest."""
    hybrid = [n for n, task in enumerate(tasks) if task.request.retrieval == "hybrid"]
    if not hybrid:
        return
    asked = []
    for n in hybrid:
        vector, request = tasks[n].vector, tasks[n].request
        assert vector is not None
        asked.append(words_query(request.query, vector, tasks[n].where, candidates[n]))
    for n, found in zip(hybrid, await store.search_words(asked), strict=True):
        candidates[n], tasks[n].lexical = joined(candidates[n], found)


def _queries(task: SearchTask, depth: int) -> list[NearestQuery]:
    assert task.vector is not None
    limit = max(task.request.candidates, depth)
    queries = [NearestQuery(task.vector, limit=limit, where=task.where)]
    if task.request.language_mode == "balance":
        queries += queries_by_language(task.vector, task.where, task.census)
    return queries
