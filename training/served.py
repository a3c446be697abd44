"""Served lists: what the service would return for a query, with what is known about each hit.

A hit is judged when somebody can tell whether it answers: it is graded relevant, or its language
holds a relevant passage for this query and it is neither relevant nor marked as unjudged. In a
language in which nobody looked for an answer nothing is known, and such hits are left out.
Counting them as irrelevant would teach the calibrator that other languages hold no answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.core.calibration.document import RankRange
from app.core.calibration.lists import HitFeatures, background_score
from app.core.calibration.score_pieces import ScorePieces
from app.core.calibration.standing import language_standings
from app.core.types import BoolArray, FloatArray, VectorArray
from training.retrieval_set import RetrievalSet, RowArray
from training.search import nearest

DEPTH = 20
BACKGROUND = RankRange(from_rank=21, to_rank=60)


@dataclass(frozen=True, slots=True, eq=False)
class HitTable:
    """Judged hits of served lists, one entry a hit.

    Attributes:
        score: Cosine.
        background: Mean score of the background ranks of the hit's list.
        gap: Score of the hit minus that of the next one in the list.
        corpus: Number of eligible passages.
        log_language_corpus: Logarithm of the number of eligible passages in the hit's language.
        log_language_rank: Logarithm of the rank among the hits of the passage's language.
        language_lead: Lead in its language (``app.core.calibration.calibrator``).
        language_lag: Lag in its language.
        same: Whether query and passage language agree.
        relevant: Whether the passage answers.
        rank: 1-based.
        query_language: Language of the query.
        passage_language: Language of the passage.
        query: Number of the list.
        cluster: Number of what is resampled: the document, or the question with its translations.
    """

    score: FloatArray
    background: FloatArray
    gap: FloatArray
    corpus: FloatArray
    log_language_corpus: FloatArray
    log_language_rank: FloatArray
    language_lead: FloatArray
    language_lag: FloatArray
    same: BoolArray
    relevant: BoolArray
    rank: RowArray
    query_language: NDArray[np.str_]
    passage_language: NDArray[np.str_]
    query: RowArray
    cluster: RowArray

    def __len__(self) -> int:
        return len(self.score)

    def features(self) -> HitFeatures:
        """Return the features of the hit and pooled heads."""
        return self.dense_features(None)

    def dense_features(self, log_lexical_rank: FloatArray | None) -> HitFeatures:
        """Return them with the lexical ranks of a hybrid list beside them."""
        return HitFeatures(
            score=self.score,
            background=self.background,
            log_corpus=np.log(self.corpus),
            log_language_corpus=self.log_language_corpus,
            log_language_rank=self.log_language_rank,
            language_lead=self.language_lead,
            language_lag=self.language_lag,
            same=self.same.astype(np.float64),
            log_lexical_rank=log_lexical_rank,
        )

    def first_hit_columns(self, pieces: ScorePieces | None = None) -> dict[str, FloatArray]:
        """Return the columns of the first-hit head; take the hits of rank 1 only.

        Args:
            pieces: What the score is read through.
        """
        return {**self.features().columns(pieces), "gap": self.gap}

    def where(self, mask: BoolArray) -> Self:
        """Return the hits that a mask selects."""
        return type(self)(*(getattr(self, column.name)[mask] for column in fields(self)))


Table = TypeVar("Table", bound=HitTable)


def concatenate(tables: Sequence[Table]) -> Table:
    """Put tables together; their lists stay apart."""
    offsets = np.cumsum([0] + [int(t.query.max(initial=-1)) + 1 for t in tables[:-1]])
    columns = {
        column.name: np.concatenate([getattr(table, column.name) for table in tables])
        for column in fields(tables[0])
    }
    columns["query"] = np.concatenate(
        [table.query + offset for table, offset in zip(tables, offsets, strict=True)]
    )
    return type(tables[0])(**columns)


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Lists of equal width, best score first.

    Attributes:
        rows: Passages, int64 of shape (queries, width).
        scores: Cosines, float64 of the same shape.
        level: Background of every list, shape (queries,).
        standings: ``LanguageStanding`` of every hit, shape (queries, width, 4).
    """

    rows: RowArray
    scores: FloatArray
    level: FloatArray
    standings: FloatArray


def serve(  # noqa: PLR0913 - a list is made from a set, its vectors and the ranks that matter
    data: RetrievalSet,
    queries: VectorArray,
    passages: VectorArray,
    *,
    asked: RowArray,
    pool: RowArray,
    judged_only: bool = True,
    answered: bool = True,
) -> HitTable:
    """Serve queries from a pool as the service would, and keep the judged hits.

    Args:
        data: The set.
        queries: Vectors of all its queries.
        passages: Vectors of all its passages.
        asked: Rows of the queries to serve.
        pool: Rows of the eligible passages, ascending.
        judged_only: Leave out the hits that nobody can judge; they count as irrelevant
            otherwise, which is right for nothing but distributions of scores.
        answered: Whether the pool answers the queries. Where it does not, a hit is judged if
            the query's answers in its language are known, and they are not in the pool.
    """
    found = nearest(queries[asked], passages[pool], BACKGROUND.to_rank)
    rows = pool[found.rows]
    lists = Lists(
        rows=rows,
        scores=found.scores,
        level=np.array([background_score(scores, BACKGROUND) for scores in found.scores]),
        standings=stood(data, rows, found.scores, pool),
    )
    full, judged = table_of(data, lists, asked=asked, pool=pool, answered=answered, depth=DEPTH)
    return HitTable(**{name: column[judged | (not judged_only)] for name, column in full.items()})


def table_of(  # noqa: PLR0913 - lists, and what was asked
    data: RetrievalSet,
    lists: Lists,
    *,
    asked: RowArray,
    pool: RowArray,
    answered: bool,
    depth: int | None = None,
) -> tuple[dict[str, NDArray[Any]], BoolArray]:
    """Return the columns of a ``HitTable``, and which hits are judged; of one shape.

    Args:
        data: The set.
        lists: What was found.
        asked: Rows of the queries.
        pool: Rows of the eligible passages, ascending.
        answered: As for ``serve``.
        depth: How many hits of every list are looked at; all where it is ``None``.
    """
    rows, scores = lists.rows[:, :depth], lists.scores[:, :depth]
    next_score = np.column_stack([lists.scores[:, 1:], lists.level])[:, :depth]
    spoken = data.passage_languages[rows]
    rank, lead, lag, size = np.moveaxis(lists.standings[:, :depth], -1, 0)
    relevant, judged = _judge(data, asked, pool if answered else None, rows)
    shape = rows.shape
    columns = {
        "score": scores,
        "background": np.broadcast_to(lists.level[:, None], shape),
        "gap": scores - next_score,
        "corpus": np.full(shape, float(len(pool))),
        "log_language_corpus": np.log(size),
        "log_language_rank": np.log(rank),
        "language_lead": lead,
        "language_lag": lag,
        "same": spoken == data.query_languages[asked][:, None],
        "relevant": relevant,
        "rank": np.broadcast_to(np.arange(1, shape[1] + 1), shape),
        "query_language": np.broadcast_to(data.query_languages[asked][:, None], shape),
        "passage_language": spoken,
        "query": np.broadcast_to(np.arange(len(asked))[:, None], shape),
        "cluster": np.broadcast_to(data.clusters[asked][:, None], shape),
    }
    return columns, judged


def stood(
    data: RetrievalSet,
    rows: RowArray,
    scores: FloatArray,
    pool: RowArray,
    *,
    listed: BoolArray | None = None,
) -> FloatArray:
    """Return the standings of hits, shape (queries, width, 4).

    Args:
        data: The set.
        rows: Passages of the lists, best score first, int64 of shape (queries, width).
        scores: Their cosines.
        pool: Rows of the eligible passages.
        listed: Of hybrid lists, where there is a hit; ones stand where a list has ended before.
    """
    spoken = data.passage_languages
    sizes = dict(zip(*np.unique(spoken[pool], return_counts=True), strict=True))
    found = np.ones((*rows.shape, 4))
    counts = np.full(len(rows), rows.shape[1]) if listed is None else listed.sum(axis=1)
    for at, count in enumerate(counts.tolist()):
        found[at, :count] = language_standings(
            scores[at, :count].astype(np.float64),
            spoken[rows[at, :count]].tolist(),
            sizes,
            BACKGROUND,
            by_words=listed is not None,
        )
    return found


def _judge(
    data: RetrievalSet, asked: RowArray, pool: RowArray | None, rows: RowArray
) -> tuple[BoolArray, BoolArray]:
    """Return for every hit whether it is relevant and whether it is judged.

    Answers outside the pool make their language unjudged; without a pool they do not.
    """
    spoken = data.passage_languages
    relevant = np.zeros(rows.shape, dtype=np.bool_)
    judged = np.zeros(rows.shape, dtype=np.bool_)
    for index, query in enumerate(asked):
        answers = data.relevant[query]
        inside = answers if pool is None else answers[np.isin(answers, pool, assume_unique=True)]
        known = np.unique(spoken[inside])
        relevant[index] = np.isin(rows[index], answers)
        unjudged = np.isin(rows[index], data.unjudged[query])
        judged[index] = relevant[index] | (np.isin(spoken[rows[index]], known) & ~unjudged)
    return relevant, judged
