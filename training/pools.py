"""What batches are drawn from: groups of rows that come in cycles, and sets weighted by size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
RowArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Generator = np.random.Generator


def set_weights(
    weight: FloatArray, source: IntArray, group: IntArray, exponent: float
) -> FloatArray:
    """Return how often the group of each row is drawn, for sets weighted by smoothed size.

    Where no group has rows of two sets, set s gets a share of the draws proportional to
    ``weight_s * n_groups_s ** exponent``. The number of draws in a cycle stays what it is without
    smoothing, so that an exponent of 1 changes nothing.

    Args:
        weight: (n_rows,) weight of each row's set.
        source: (n_rows,) set of each row.
        group: (n_rows,) passage group of each row.
        exponent: 1 draws by size, 0 by weight alone.

    Returns:
        (n_rows,).
    """
    if exponent == 1.0:
        return weight
    pairs = np.stack([source, group], axis=1)
    _, firsts = np.unique(pairs, axis=0, return_index=True)
    n_groups = np.bincount(source[firsts])
    smoothed = weight * n_groups[source].astype(np.float64) ** (exponent - 1.0)
    draws: float = weight[firsts].sum() / smoothed[firsts].sum()
    return smoothed * draws


class BatchInMaking:
    """A batch in the making: refuses a row that shares a key with a member."""

    def __init__(self, keys: Sequence[IntArray]) -> None:
        self.rows: list[int] = []
        self._keys = keys
        self._seen: list[set[int]] = [set() for _ in keys]

    def add(self, row: int) -> bool:
        """Add a row, or return False and leave the batch as it is."""
        values = [int(key[row]) for key in self._keys]
        if any(value in seen for value, seen in zip(values, self._seen, strict=True)):
            return False
        for value, seen in zip(values, self._seen, strict=True):
            seen.add(value)
        self.rows.append(row)
        return True


class GroupPool:
    """Rows that are drawn cycle after cycle; every group comes once a cycle, with one of its rows.

    Drawing by group and not by row keeps a passage with twenty questions, or a text with two
    hundred language pairs, from being seen more often than others.

    Args:
        rows: (n,) the rows.
        group: (n,) their groups.
        weight: (n,) how often a group is drawn; 1.5 is once a cycle, and twice in every other.
        preference: (n,) relative probability of a row within its group; where it is ``None`` the
            rows of a group take turns.
        rng: Source of randomness; the pool draws from it on every refill.
    """

    def __init__(
        self,
        rows: RowArray,
        group: IntArray,
        weight: FloatArray,
        preference: FloatArray | None,
        rng: Generator,
    ) -> None:
        shuffled = rng.permutation(len(rows))
        order = shuffled[np.argsort(group[shuffled], kind="stable")]
        self._rows: RowArray = rows[order]
        _, self._starts, self._sizes = np.unique(
            group[order], return_index=True, return_counts=True
        )
        self._weight = weight[order][self._starts]
        preferences = np.ones(len(rows)) if preference is None else preference[order]
        self._takes_turns = preference is None
        self._cumulative = np.concatenate([[0.0], np.cumsum(preferences)])
        self._rng = rng
        self._cycle = 0
        self._queue: list[int] = []

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self._starts)

    def fill(self, batch: BatchInMaking, size: int) -> None:
        """Add rows until the batch has ``size`` members, or every group has been offered once."""
        refills = 0
        refused: list[int] = []
        queue = self._queue
        position = 0
        while len(batch.rows) < size:
            if position == len(queue):
                if refills == 1:
                    break
                # What this batch refused waits for its group's turn in the new cycle.
                queue, position, refused, refills = self._new_cycle(), 0, [], refills + 1
                continue
            if not batch.add(queue[position]):
                refused.append(queue[position])
            position += 1
        self._queue = refused + queue[position:] if len(batch.rows) == size else []

    def _new_cycle(self) -> list[int]:
        copies = np.floor(self._weight + self._rng.random(self.n_groups)).astype(np.int64)
        groups = self._rng.permutation(np.repeat(np.arange(self.n_groups), copies))
        self._cycle += 1
        return [int(row) for row in self._rows[self._pick(groups)]]

    def _pick(self, groups: RowArray) -> RowArray:
        starts, sizes = self._starts[groups], self._sizes[groups]
        if self._takes_turns:
            return np.add(starts, self._cycle % sizes)
        low, high = self._cumulative[starts], self._cumulative[starts + sizes]
        drawn = low + self._rng.random(len(groups)) * (high - low)
        chosen = np.searchsorted(self._cumulative, drawn, side="right") - 1
        picked: RowArray = np.clip(chosen, starts, starts + sizes - 1)
        return picked
