"""Scores of texts by the terms that they share: products of sparse rows of weights."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from app.core.types import VectorArray
from training.retrieval_set import RowArray
from training.search import ScoreQueries


class TermScorer:
    """Scores that are products of sparse rows of term weights.

    Args:
        queries: float64 of shape (queries, terms).
        passages: float64 of shape (passages, terms).
    """

    def __init__(self, queries: sparse.csr_matrix, passages: sparse.csr_matrix) -> None:
        self._queries = queries.tocsr()
        self._passages = passages.tocsr()

    def against(self, passages: RowArray) -> ScoreQueries:
        """Prepare passages; see ``Scorer``."""
        turned = self._passages[passages].T.tocsr()

        def score(queries: slice) -> VectorArray:
            scores: VectorArray = (self._queries[queries] @ turned).toarray().astype(np.float32)
            return scores

        return score

    def pairs(self, queries: RowArray, passages: RowArray) -> VectorArray:
        """Return the scores of aligned pairs; see ``Scorer``."""
        products = self._queries[queries].multiply(self._passages[passages])
        scores: VectorArray = np.asarray(products.sum(axis=1)).ravel().astype(np.float32)
        return scores
