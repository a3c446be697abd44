"""Lexical systems, measured by the same protocol as an encoder.

- ``bm25``: every language has an index of its own; in the pool of all languages the scores of the
  indexes are merged as they are. Across languages it finds what names and numbers give away.
- ``bm25-lexicon``: the same indexes, asked with the query translated word by word.
- ``char-ngrams``: cosine of tf-idf weighted character n-grams, one index for all languages.

A passage that shares no term with a query is not returned: its rank among thousands of such
passages would be decided by its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

import numpy as np
from scipy import sparse

from training.bm25 import Bm25, terms
from training.embedding import progress
from training.lexicon import Lexicon
from training.protocol import RetrievalResult, summarise
from training.ranks import rank_all
from training.retrieval_set import RetrievalSet
from training.search import Scorer
from training.search_terms import TermScorer

Baseline: TypeAlias = Literal["bm25", "bm25-lexicon", "char-ngrams"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)

NGRAMS = (2, 4)
"""Shortest and longest character n-gram."""


def evaluate_baseline(
    name: Baseline, data: RetrievalSet, lexicon: Lexicon | None = None
) -> RetrievalResult:
    """Evaluate a lexical system in all settings.

    Args:
        name: Which one.
        data: The set.
        lexicon: For ``bm25-lexicon``.

    Raises:
        ValueError: ``bm25-lexicon`` without a lexicon.
    """
    if name == "bm25-lexicon" and lexicon is None:
        raise ValueError("bm25-lexicon needs a lexicon")
    scorer: Scorer
    if name == "char-ngrams":
        scorer = char_ngram_scorer(data)
    else:
        scorer = bm25_scorer(data, lexicon if name == "bm25-lexicon" else None)
    return summarise(data, rank_all(data, scorer, returned_above=0.0))


def evaluate_bm25(data: RetrievalSet) -> RetrievalResult:
    """Evaluate BM25 in all settings."""
    return evaluate_baseline("bm25", data)


def bm25_scorer(data: RetrievalSet, lexicon: Lexicon | None = None) -> TermScorer:
    """Return BM25 over one index a language.

    Args:
        data: The set.
        lexicon: Translates queries to the language of an index; they are asked as they are
            without it.
    """
    spoken = data.passage_languages
    codes = [str(code) for code in np.unique(spoken)]
    order, asked, weights = [], [], []
    for code in progress(codes, "Indexing for BM25", len(codes)):
        pool = np.flatnonzero(spoken == code)
        index = Bm25((data.passages[row].text for row in pool), code)
        order.append(pool)
        asked.append(index.asked(_bags(data, index, code, lexicon)))
        weights.append(index.weights)
    place = np.argsort(np.concatenate(order))
    passages = sparse.block_diag(weights, format="csr")[place]
    return TermScorer(sparse.hstack(asked, format="csr"), passages)


def char_ngram_scorer(data: RetrievalSet) -> TermScorer:
    """Return the cosine of sublinear tf-idf weighted character n-grams inside words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectoriser = TfidfVectorizer(
        analyzer="char_wb", ngram_range=NGRAMS, sublinear_tf=True, dtype=np.float64
    )
    passages = vectoriser.fit_transform(passage.text for passage in data.passages)
    return TermScorer(vectoriser.transform(query.text for query in data.queries), passages)


def _bags(
    data: RetrievalSet, index: Bm25, code: str, lexicon: Lexicon | None
) -> list[Mapping[str, float]]:
    if lexicon is None:
        return [index.bag(query.text) for query in data.queries]
    return [
        index.bag(query.text)
        if query.language == code
        else _translated(lexicon.translate(query.text, query.language, code), code)
        for query in data.queries
    ]


def _translated(words: Mapping[str, float], code: str) -> dict[str, float]:
    """Return the weights of index terms; a phrase gives its weight to each of its terms."""
    bag: dict[str, float] = {}
    for word, weight in words.items():
        for term in dict.fromkeys(terms(word, code)):
            bag[term] = bag.get(term, 0.0) + weight
    return bag
