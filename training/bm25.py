"""BM25: the baseline that every claim about search inside one language is measured against.

Okapi BM25 in Lucene's form (Robertson and Zaragoza 2009), with the idf that is never negative::

    sum over query terms t   idf(t) * tf / (tf + k1 * (1 - b + b * length / mean length))
    idf(t) = ln(1 + (n - df + 0.5) / (df + 0.5))

Terms are case-folded words; Chinese, Japanese and Thai, which are written without spaces, are cut
into overlapping pairs of characters.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np
from scipy import sparse

from app.core.types import VectorArray

K1 = 1.2
B = 0.75
WITHOUT_SPACES = frozenset({"ja", "th", "zh"})


def words(text: str) -> list[str]:
    """Return the case-folded words of a text: what stands between spaces and punctuation."""
    normal = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c if _belongs_to_a_word(c) else " " for c in normal).split()


def terms(text: str, language: str) -> list[str]:
    """Return the terms of a text, in order, repetitions included."""
    if language not in WITHOUT_SPACES:
        return words(text)
    return [pair for word in words(text) for pair in _pairs(word)]


class Bm25:
    """An index over the passages of one language.

    Args:
        texts: The passages.
        language: Primary language subtag; decides how texts become terms.

    Attributes:
        weights: Weight of every term in every passage, float64 of shape (passages, terms).
    """

    def __init__(self, texts: Iterable[str], language: str) -> None:
        self._language = language
        self._column: dict[str, int] = {}
        self.weights = self._weigh(texts)

    def bag(self, query: str) -> dict[str, float]:
        """Return the terms of a query, each with weight 1 however often it occurs."""
        return dict.fromkeys(terms(query, self._language), 1.0)

    def asked(self, bags: Sequence[Mapping[str, float]]) -> sparse.csr_matrix:
        """Return weighted query terms as a matrix, float64 of shape (queries, terms)."""
        rows, columns, values = array("q"), array("q"), array("d")
        for row, bag in enumerate(bags):
            for term, weight in bag.items():
                if (column := self._column.get(term)) is not None:
                    rows.append(row)
                    columns.append(column)
                    values.append(weight)
        shape = (len(bags), len(self._column))
        return sparse.csr_matrix((values, (rows, columns)), shape=shape)

    def scores(self, queries: Sequence[str]) -> VectorArray:
        """Return the scores of all passages, float32 of shape (queries, passages)."""
        asked = self.asked([self.bag(query) for query in queries])
        scores: VectorArray = (asked @ self.weights.T).toarray().astype(np.float32)
        return scores

    def _weigh(self, texts: Iterable[str]) -> sparse.csr_matrix:
        starts, columns, counts = array("q", [0]), array("q"), array("d")
        for text in texts:
            counted = Counter(terms(text, self._language))
            columns.extend(self._column.setdefault(term, len(self._column)) for term in counted)
            counts.extend(counted.values())
            starts.append(len(columns))
        shape = (len(starts) - 1, len(self._column))
        tf = sparse.csr_matrix((counts, columns, starts), shape=shape, dtype=np.float64)
        length = np.asarray(tf.sum(axis=1)).ravel()
        df = np.bincount(tf.indices, minlength=shape[1])
        idf = np.log1p((shape[0] - df + 0.5) / (df + 0.5))
        norm = K1 * (1.0 - B + B * length / max(length.mean(), 1.0))
        passage = np.repeat(np.arange(shape[0]), np.diff(tf.indptr))
        tf.data = idf[tf.indices] * tf.data / (tf.data + norm[passage])
        return tf


def _pairs(word: str) -> list[str]:
    return [word[i : i + 2] for i in range(len(word) - 1)] or [word]


@cache
def _belongs_to_a_word(character: str) -> bool:
    # Marks belong to words: Hindi and Thai vowels are written as combining marks.
    return unicodedata.category(character)[0] in "LNM"
