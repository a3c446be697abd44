"""Hybrid retrieval: passages that are near the query, and passages that share words with it.

Both lists become one. Every candidate has its cosine, and its lexical score: 0 where it shares no
word with the query. They are on different scales, so only the ranks are joined, by reciprocal
rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): a candidate is worth the sum of
1 / (``RANK_CONSTANT`` + rank) over the orders by score and by lexical score.

Words say nothing of a passage in another language than the query's: that it shares none is no
reason to put it lower. Its rank by score counts twice then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.core.calibration.words import RANKED
from app.core.languages.codes import primary_language
from app.core.lexical import query_words
from app.core.search.candidates import Candidates, LexicalOrder, WordStatements
from app.core.types import (
    UNDETERMINED,
    FloatArray,
    FoundByWords,
    PassageFilter,
    ScoredPassage,
    VectorArray,
    WordsQuery,
)

BY_WORDS = RANKED
"""How many passages are taken by words, beside the nearest ones."""

RANK_CONSTANT = 60
"""How little the first ranks differ; the value of the paper."""


def words_query(
    query: str, vector: VectorArray, where: PassageFilter, nearest: Sequence[ScoredPassage]
) -> WordsQuery:
    """Return what a store is asked about the words of a query.

    Args:
        query: Its text.
        vector: Its embedding, float32 of shape (dim,).
        where: Which passages are eligible.
        nearest: What was found by vector, whose lexical scores are wanted too.
    """
    return WordsQuery(
        words=query_words(query),
        vector=vector,
        limit=BY_WORDS,
        where=where,
        beside=tuple(candidate.passage.id for candidate in nearest),
    )


def joined(
    nearest: Sequence[ScoredPassage], found: FoundByWords
) -> tuple[list[ScoredPassage], dict[str, float]]:
    """Return all candidates, best score first and then by id, and their lexical scores.

    Args:
        nearest: What was found by vector.
        found: What was found by words.

    Returns:
        The candidates, each once; id to lexical score of those that share a word with the query.
    """
    known = {candidate.passage.id for candidate in nearest}
    others = (
        ScoredPassage(hit.passage, hit.score) for hit in found.hits if hit.passage.id not in known
    )
    candidates = [*nearest, *others]
    candidates.sort(key=lambda candidate: (-candidate.score, candidate.passage.id))
    by_words = {hit.passage.id: hit.lexical_score for hit in found.hits}
    return candidates, {**found.beside, **by_words}


def fused(candidates: Candidates, lexical: LexicalOrder, query_language: str | None) -> Candidates:
    """Return the candidates with what words say of them, and what they are worth by both.

    Args:
        candidates: Best score first and then by id.
        lexical: What words say of them.
        query_language: Its primary language; ``None`` where it is not known.
    """
    ranks = lexical.ranks
    by_score = _worth(np.arange(1, len(ranks) + 1))
    by_words = np.where(ranks > 0, _worth(ranks), 0.0)
    foreign = _foreign(candidates, query_language)
    by_words[foreign] = np.maximum(by_words[foreign], by_score[foreign])
    words = WordStatements(lexical.scores, ranks, by_score + by_words)
    return replace(candidates, said=replace(candidates.said, words=words))


def _foreign(candidates: Candidates, query_language: str | None) -> list[int]:
    if query_language is None:
        return []
    languages = [primary_language(passage.language) for passage in candidates.passages]
    ours = {query_language, UNDETERMINED}
    return [at for at, language in enumerate(languages) if language not in ours]


def _worth(ranks: np.ndarray) -> FloatArray:
    return 1.0 / (RANK_CONSTANT + ranks.astype(np.float64))
