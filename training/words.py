"""Lexical scores of a set, as hybrid retrieval computes them (``app/core/lexical.py``).

A store keeps what every word of a passage weighs, and counts how rare the words of a query are
when it is asked. So here: the weights are made once, and counted in every corpus anew.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import sparse

from app.core.lexical import passage_words, query_words
from training.retrieval_set import RetrievalSet, RowArray
from training.search_terms import TermScorer


class WordIndex:
    """The words of all queries and passages of a set.

    Args:
        queries: Texts of the queries.
        passages: Texts of the passages.
    """

    @classmethod
    def of(cls, data: RetrievalSet) -> WordIndex:
        """Return the words of a set."""
        return cls([q.text for q in data.queries], [p.text for p in data.passages])

    def __init__(self, queries: Sequence[str], passages: Sequence[str]) -> None:
        asked = [query_words(text) for text in queries]
        # What no query asks for needs no column.
        column = {word: n for n, word in enumerate(sorted({w for words in asked for w in words}))}
        ones = [(words, [1.0] * len(words)) for words in asked]
        self._queries = _matrix(ones, column)
        self._passages = _matrix((passage_words(text) for text in passages), column)

    def within(self, asked: RowArray, pool: RowArray) -> TermScorer:
        """Return what scores queries in a corpus of some passages, by how rare words are in it."""
        passages = self._passages[pool]
        count, words = passages.shape
        holding = np.bincount(passages.indices, minlength=words)
        rare = np.log((count - holding + 0.5) / (holding + 0.5) + 1.0)
        return TermScorer(self._queries[asked] @ sparse.diags(rare, format="csr"), passages)


def _matrix(
    texts: Iterable[tuple[Sequence[int], Sequence[float]]], column: Mapping[int, int]
) -> sparse.csr_matrix:
    starts, columns, weights = array("q", [0]), array("q"), array("d")
    for words, values in texts:
        known = [(column[w], v) for w, v in zip(words, values, strict=True) if w in column]
        columns.extend(place for place, _ in known)
        weights.extend(value for _, value in known)
        starts.append(len(columns))
    shape = (len(starts) - 1, len(column))
    return sparse.csr_matrix((weights, columns, starts), shape=shape, dtype=np.float64)
