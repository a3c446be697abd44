"""Exact search, in blocks of queries and passages, so that neither scores nor copies pile up.

Ties are broken everywhere in the same way: higher score first, then the lower passage row, and
rows are ordered by passage id. A score and a row are packed into one 64-bit key whose order is
that order, so selecting and sorting keys never meets a tie.

Scores are computed in float64 and rounded to float32. A float32 matrix product gives the same two
vectors different last bits in different places of a block; rounded from float64 they agree, so
equal texts tie and no result depends on the block size, the processor or the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray, VectorArray
from training.embedding import progress
from training.retrieval_set import RowArray

KeyArray: TypeAlias = NDArray[np.int64]
ScoreQueries: TypeAlias = Callable[[slice], VectorArray]
"""Scores some queries against prepared passages, float32 of shape (queries, passages)."""
Device: TypeAlias = Literal["cpu", "cuda"]

BLOCK_CELLS = 1 << 22
"""Scores held at a time: 256 queries against 16,384 passages, about 100 MB with the keys."""

QUERIES_A_BLOCK = 256

_LOW_BITS = 0xFFFFFFFF
_MAGNITUDE_BITS = 0x7FFFFFFF
_NOTHING = np.iinfo(np.int64).min


class Scorer(Protocol):
    """A system that scores every query of a set against every passage of it."""

    def against(self, passages: RowArray) -> ScoreQueries:
        """Prepare passages, by row, to be scored against blocks of queries."""
        ...

    def pairs(self, queries: RowArray, passages: RowArray) -> VectorArray:
        """Return the scores of aligned pairs, float32, equal to those of ``against``."""
        ...


class CosineScorer:
    """Scores of unit vectors.

    Args:
        queries: Unit vectors, float32 or float16 of shape (n, dim).
        passages: Unit vectors, float32 or float16 of shape (m, dim), in the order of passage ids;
            may be memory-mapped, only a block of them is read at a time.
    """

    def __init__(self, queries: VectorArray, passages: VectorArray) -> None:
        self._queries = queries
        self._passages = passages

    def against(self, passages: RowArray) -> ScoreQueries:
        """Prepare passages; see ``Scorer``."""
        turned = self._passages[_contiguous(passages)].astype(np.float64).T

        def score(queries: slice) -> VectorArray:
            scores: VectorArray = (self._queries[queries].astype(np.float64) @ turned).astype(
                np.float32
            )
            return scores

        return score

    def pairs(self, queries: RowArray, passages: RowArray) -> VectorArray:
        """Return the scores of aligned pairs; see ``Scorer``."""
        scores = np.empty(len(queries), dtype=np.float32)
        for start in range(0, len(queries), QUERIES_A_BLOCK):
            block = slice(start, start + QUERIES_A_BLOCK)
            left = self._queries[queries[block]].astype(np.float64)
            scores[block] = np.einsum("qd,qd->q", left, self._passages[passages[block]])
        return scores


def cosine_scorer(queries: VectorArray, passages: VectorArray, device: Device = "cpu") -> Scorer:
    """Return the scorer of unit vectors on a device; ``cuda`` needs torch and a GPU.

    Raises:
        RunError: ``cuda`` was asked for and there is none.
    """
    if device == "cpu":
        return CosineScorer(queries, passages)
    from training.search_torch import TorchCosineScorer

    return TorchCosineScorer(queries, passages, device)


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The best passages of every query, best first.

    Attributes:
        rows: Passage rows, int64 of shape (queries, k).
        scores: Scores, float64 of shape (queries, k).
    """

    rows: RowArray
    scores: FloatArray


def nearest(
    queries: VectorArray,
    passages: VectorArray,
    k: int,
    *,
    block_cells: int = BLOCK_CELLS,
    device: Device = "cpu",
) -> Neighbours:
    """Find the k best passages of every query, or all where there are fewer than k.

    Args:
        queries: Unit vectors, float32 or float16 of shape (n, dim).
        passages: Unit vectors of shape (m, dim), in the order of passage ids.
        k: How many passages, at least 1.
        block_cells: How many scores to hold at a time.
        device: Where scores are computed.
    """
    scorer = cosine_scorer(queries, passages, device)
    return best_of(scorer, (len(queries), len(passages)), k, block_cells=block_cells)


def best_of(
    scorer: Scorer,
    shape: tuple[int, int],
    k: int,
    *,
    block_cells: int = BLOCK_CELLS,
    what: str | None = None,
) -> Neighbours:
    """Find the k best passages of every query by a running merge over blocks of passages.

    Args:
        scorer: What scores them.
        shape: Number of queries and of passages.
        k: How many passages, at least 1.
        block_cells: How many scores to hold at a time.
        what: Shown beside a progress bar; no bar without it.
    """
    queries, passages = shape
    k = min(k, passages)
    best = np.full((queries, k), _NOTHING)
    blocks = list(passage_blocks(np.arange(passages), queries, block_cells))
    for rows in blocks if what is None else progress(blocks, what, len(blocks)):
        score = scorer.against(rows)
        for block in query_blocks(queries, block_cells):
            keys = pack(score(block), rows)
            merged = np.concatenate([best[block], _largest(keys, k)], axis=1)
            best[block] = _largest(merged, k)
    best = np.sort(best, axis=1)[:, ::-1]
    return Neighbours(rows=rows_of(best), scores=scores_of(best))


def query_blocks(queries: int, block_cells: int = BLOCK_CELLS) -> Iterator[slice]:
    """Yield slices of queries; a block is as large as ``passage_blocks`` supposes."""
    size = min(QUERIES_A_BLOCK, max(1, block_cells))
    for start in range(0, queries, size):
        yield slice(start, min(start + size, queries))


def passage_blocks(
    pool: RowArray, queries: int, block_cells: int = BLOCK_CELLS
) -> Iterator[RowArray]:
    """Yield blocks of a pool, such that the scores of one block of queries fit."""
    size = max(1, block_cells // max(1, min(QUERIES_A_BLOCK, queries)))
    for start in range(0, len(pool), size):
        yield pool[start : start + size]


def pack(scores: VectorArray, rows: RowArray | None = None) -> KeyArray:
    """Return keys that sort as (score, then lower row first), int64 of the scores' shape.

    A float32 read as an integer sorts correctly once the magnitude bits of negative numbers are
    flipped; adding 0 first turns -0.0 into 0.0.

    Args:
        scores: float32 of shape (..., passages).
        rows: Passage row of every column; its number where it is ``None``.
    """
    bits = np.ascontiguousarray(scores + np.float32(0.0)).view(np.int32)
    ordered = np.where(bits < 0, bits ^ _MAGNITUDE_BITS, bits).astype(np.int64)
    columns = np.arange(scores.shape[-1], dtype=np.int64) if rows is None else rows
    keys: KeyArray = (ordered << 32) | (_LOW_BITS - columns)
    return keys


def rows_of(keys: KeyArray) -> RowArray:
    """Return the passage rows that keys carry."""
    rows: RowArray = _LOW_BITS - (keys & _LOW_BITS)
    return rows


def scores_of(keys: KeyArray) -> FloatArray:
    """Return the scores that keys carry, as float64."""
    ordered = (keys >> 32).astype(np.int32)
    bits = np.where(ordered < 0, ordered ^ _MAGNITUDE_BITS, ordered).astype(np.int32)
    return bits.view(np.float32).astype(np.float64)


def _largest(keys: KeyArray, k: int) -> KeyArray:
    return keys if keys.shape[1] <= k else np.partition(keys, -k, axis=1)[:, -k:]


def _contiguous(rows: RowArray) -> slice | RowArray:
    """Return a slice where rows follow one another: it copies nothing."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
