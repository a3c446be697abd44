"""Everything a study needs of one encoder on one evaluation set, in one pass over all scores.

The scores of 13,090 queries and 13,014 passages are computed once, in blocks; ranks are counted and
not sorted, because only those of the relevant passages matter. Ties are broken as everywhere:
the lower passage row is first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.types import BoolArray, FloatArray, VectorArray
from training.retrieval_set import RowArray
from training.study.evaluation_set import EvaluationSet

BLOCK_ROWS = 128
_NONE = -1

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What one encoder returns; n queries, k hits, at most r relevant passages, m languages.

    Attributes:
        rows: Passage rows of the hits, best first, (n, k).
        scores: Their cosines, (n, k).
        raw: Their softmax over the whole pool at the loss temperature, (n, k).
        overall: Rank of every relevant passage in the whole pool, (n, r), ``inf`` if unused.
        inside: Its rank among the passages of its language, (n, r).
        language: Its language number, (n, r), -1 if unused.
    """

    rows: RowArray
    scores: FloatArray
    raw: FloatArray
    overall: FloatArray
    inside: FloatArray
    language: RowArray


def serve_all(
    evaluation: EvaluationSet,
    queries: VectorArray,
    passages: VectorArray,
    *,
    depth: int,
    loss_temperature: float,
) -> Served:
    """Serve every query from the pool of all languages.

    Args:
        evaluation: The set.
        queries: Unit vectors of its queries.
        passages: Unit vectors of its passages.
        depth: Number of hits.
        loss_temperature: Divides the cosines of the softmax.
    """
    relevant = _padded(evaluation.data.relevant)
    # One slice of columns per language; stable, so that rows ascend inside of it.
    order = np.argsort(evaluation.spoken, kind="stable")
    place = np.argsort(order)
    starts = np.searchsorted(evaluation.spoken[order], np.arange(len(evaluation.languages) + 1))
    ordered = np.ascontiguousarray(passages[order].T)
    depth = min(depth, len(passages))
    parts = [
        _serve_block(
            queries[block] @ ordered,
            np.where(relevant[block] == _NONE, _NONE, place[relevant[block]]),
            _Columns(order, starts),
            depth,
            loss_temperature,
        )
        for block in _blocks(len(queries))
    ]
    rows, scores, raw, overall, inside = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    language = np.where(relevant == _NONE, _NONE, evaluation.spoken[relevant])
    return Served(rows, scores, raw, overall, inside, language)


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """Columns of the scores: their passage rows, and where each language starts."""

    rows: RowArray
    starts: RowArray


def _blocks(n_rows: int) -> Iterator[slice]:
    for start in range(0, n_rows, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, n_rows))


def _padded(ragged: tuple[RowArray, ...]) -> RowArray:
    table = np.full((len(ragged), max(len(rows) for rows in ragged)), _NONE, np.int64)
    for line, rows in zip(table, ragged, strict=True):
        line[: len(rows)] = rows
    return table


def _serve_block(
    scores: Scores, wanted: RowArray, columns: _Columns, depth: int, loss_temperature: float
) -> tuple[RowArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    rows, top = _best(scores, columns.rows, depth)
    best = top[:, :1]
    total = np.exp((scores - best.astype(np.float32)) / np.float32(loss_temperature)).sum(
        axis=1, dtype=np.float64
    )
    raw = np.exp((top - best) / loss_temperature) / total[:, None]
    overall = np.full(wanted.shape, np.inf)
    inside = np.full(wanted.shape, np.inf)
    lines = np.arange(len(scores))
    for slot, column in enumerate(wanted.T):
        used = column != _NONE
        better = _better(scores, scores[lines, column][:, None], column, columns)
        language = np.searchsorted(columns.starts, column, side="right") - 1
        overall[used, slot] = better.sum(axis=1)[used] + 1
        inside[used, slot] = better[lines, np.maximum(language, 0)][used] + 1
    return rows, top, raw, overall, inside


def _better(scores: Scores, own: Scores, column: RowArray, columns: _Columns) -> RowArray:
    """Return how many passages of each language come before a passage, (queries, languages)."""
    counts = _count_by_language(scores > own, columns.starts)
    equal = scores == own
    tied = np.flatnonzero(np.count_nonzero(equal, axis=1) > 1)
    if len(tied):
        earlier = equal[tied] & (columns.rows[None, :] < columns.rows[column[tied]][:, None])
        counts[tied] += _count_by_language(earlier, columns.starts)
    return counts


def _count_by_language(mask: BoolArray, starts: RowArray) -> RowArray:
    spans = zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    return np.stack(
        [np.count_nonzero(mask[:, first:last], axis=1) for first, last in spans], axis=1
    )


def _best(scores: Scores, rows: RowArray, depth: int) -> tuple[RowArray, FloatArray]:
    """Return passage rows and scores of the best passages, (queries, depth) each."""
    least = np.partition(scores, -depth, axis=1)[:, -depth, None]
    line, column = np.nonzero(scores >= least)
    value, row = scores[line, column], rows[column]
    order = np.lexsort((row, -value, line))
    line, value, row = line[order], value[order], row[order]
    rank = np.arange(len(line)) - np.searchsorted(line, line)
    kept = rank < depth
    shape = (len(scores), depth)
    return row[kept].reshape(shape), value[kept].astype(np.float64).reshape(shape)
