"""Exact search by cosine, in blocks of queries.

Ties are broken everywhere in the same way: higher score first, then the lower passage row, and
rows are ordered by passage id. A score and a row are packed into one 64-bit key whose order is
that order, so selecting, sorting and counting keys never meets a tie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray, VectorArray
from training.retrieval_set import RowArray

KeyArray: TypeAlias = NDArray[np.int64]

BLOCK_CELLS = 1 << 24
"""Scores held at a time: 16 queries against a million passages, 200 MB with the keys."""

_LOW_BITS = 0xFFFFFFFF
_MAGNITUDE_BITS = 0x7FFFFFFF


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The best passages of every query, best first.

    Attributes:
        rows: Passage rows, int64 of shape (queries, k).
        scores: Cosines, float64 of shape (queries, k).
    """

    rows: RowArray
    scores: FloatArray


def nearest(
    queries: VectorArray, passages: VectorArray, k: int, *, block_cells: int = BLOCK_CELLS
) -> Neighbours:
    """Find the k best passages of every query, or all where there are fewer than k.

    Args:
        queries: Unit vectors, float32 of shape (n, dim).
        passages: Unit vectors, float32 of shape (m, dim), in the order of passage ids.
        k: How many passages, at least 1.
        block_cells: How many scores to hold at a time.
    """
    k = min(k, len(passages))
    best = [
        np.sort(np.partition(keys, -k, axis=1)[:, -k:], axis=1)[:, ::-1]
        for _, keys in key_blocks(queries, passages, block_cells=block_cells)
    ]
    keys = np.concatenate(best) if best else np.zeros((0, k), dtype=np.int64)
    return Neighbours(rows=rows_of(keys), scores=scores_of(keys))


def key_blocks(
    queries: VectorArray, passages: VectorArray, *, block_cells: int = BLOCK_CELLS
) -> Iterator[tuple[slice, KeyArray]]:
    """Yield the keys of all pairs: a slice of queries, and int64 of shape (queries, m)."""
    rows_a_block = max(1, block_cells // max(1, len(passages)))
    for start in range(0, len(queries), rows_a_block):
        block = slice(start, min(start + rows_a_block, len(queries)))
        yield block, pack(queries[block] @ passages.T)


def pack(scores: VectorArray) -> KeyArray:
    """Return keys that sort as (score, then lower column first), int64 of the scores' shape.

    A float32 read as an integer sorts correctly once the magnitude bits of negative numbers are
    flipped; adding 0 first turns -0.0 into 0.0.
    """
    bits = np.ascontiguousarray(scores + np.float32(0.0)).view(np.int32)
    ordered = np.where(bits < 0, bits ^ _MAGNITUDE_BITS, bits).astype(np.int64)
    columns = np.arange(scores.shape[-1], dtype=np.int64)
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


def ranks_in_pool(keys: KeyArray, wanted: Sequence[RowArray], pool: RowArray) -> list[RowArray]:
    """Return the ranks of wanted passages among the passages of a pool.

    Args:
        keys: One row a query, int64 of shape (queries, passages).
        wanted: For every query the passage rows to rank.
        pool: The passage rows that compete, ascending; a wanted passage outside the pool gets
            the rank it would have in it.

    Returns:
        For every query the ranks, 1-based, aligned with ``wanted``.
    """
    competing = keys if len(pool) == keys.shape[1] else keys[:, pool]
    ordered = np.sort(competing, axis=1)
    size = ordered.shape[1]
    return [
        size - np.searchsorted(row, keys[index, rows], side="right") + 1
        for index, (row, rows) in enumerate(zip(ordered, wanted, strict=True))
    ]
