"""BM25: the baseline that every claim about search inside one language is measured against.

Okapi BM25 in Lucene's form (Robertson and Zaragoza 2009), with the idf that is never negative::

    sum over query terms t   idf(t) * tf / (tf + k1 * (1 - b + b * length / mean length))
    idf(t) = ln(1 + (n - df + 0.5) / (df + 0.5))

Terms are case-folded words; Chinese, Japanese and Thai, which are written without spaces, are cut
into overlapping pairs of characters.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import sparse

from app.core.types import VectorArray

K1 = 1.2
B = 0.75
WITHOUT_SPACES = frozenset({"ja", "th", "zh"})


def terms(text: str, language: str) -> list[str]:
    """Return the terms of a text, in order, repetitions included."""
    normal = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(c if _belongs_to_a_word(c) else " " for c in normal).split()
    if language not in WITHOUT_SPACES:
        return words
    return [pair for word in words for pair in _pairs(word)]


class Bm25:
    """An index over the passages of one language.

    Args:
        texts: The passages.
        language: Primary language subtag; decides how texts become terms.
    """

    def __init__(self, texts: Sequence[str], language: str) -> None:
        self._language = language
        counts = [Counter(terms(text, language)) for text in texts]
        self._column: dict[str, int] = {}
        for term in (term for count in counts for term in count):
            self._column.setdefault(term, len(self._column))
        self._weights = self._weigh(counts)

    def scores(self, queries: Sequence[str]) -> VectorArray:
        """Return the scores of all passages, float32 of shape (queries, passages)."""
        rows, columns = [], []
        for row, query in enumerate(queries):
            known = [t for t in set(terms(query, self._language)) if t in self._column]
            rows += [row] * len(known)
            columns += [self._column[term] for term in known]
        shape = (len(queries), len(self._column))
        asked = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
        scores: VectorArray = (asked @ self._weights.T).toarray()
        return scores

    def _weigh(self, counts: Sequence[Counter[str]]) -> sparse.csr_matrix:
        rows = np.repeat(np.arange(len(counts)), [len(count) for count in counts])
        columns = np.array([self._column[t] for count in counts for t in count], dtype=np.int64)
        tf = np.array([n for count in counts for n in count.values()], dtype=np.float64)
        length = np.array([count.total() for count in counts], dtype=np.float64)
        df = np.bincount(columns, minlength=len(self._column))
        idf = np.log1p((len(counts) - df + 0.5) / (df + 0.5))
        norm = K1 * (1.0 - B + B * length / max(length.mean(), 1.0))
        weights = idf[columns] * tf / (tf + norm[rows])
        shape = (len(counts), len(self._column))
        return sparse.csr_matrix((weights.astype(np.float32), (rows, columns)), shape=shape)


def _pairs(word: str) -> list[str]:
    return [word[i : i + 2] for i in range(len(word) - 1)] or [word]


@cache
def _belongs_to_a_word(character: str) -> bool:
    # Marks belong to words: Hindi and Thai vowels are written as combining marks.
    return unicodedata.category(character)[0] in "LNM"
