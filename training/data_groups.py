"""Numbers texts, links rows that belong together, and draws samples that do not depend on order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from training.data import PairRow, ParallelRow, unit_hash

Row = TypeVar("Row", PairRow, ParallelRow)


class TextIndex:
    """Numbers texts in the order in which they are first seen."""

    def __init__(self) -> None:
        self._number_of: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """Return the number of a text; a new one gets the next number."""
        return self._number_of.setdefault(text, len(self._number_of))

    @property
    def texts(self) -> list[str]:
        """All texts, by number."""
        return list(self._number_of)


def group_numbers(keys_of_rows: Iterable[Sequence[str]]) -> list[int]:
    """Return one number per row, the same for rows that are linked by shared keys.

    Rows are linked if they share a key, and if both are linked to a third (union-find).
    """
    parent: list[int] = []
    first_with: dict[str, int] = {}

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for row, keys in enumerate(keys_of_rows):
        parent.append(row)
        for key in keys:
            other = first_with.setdefault(key, row)
            parent[root(row)] = root(other)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(row), len(numbers)) for row in range(len(parent))]


def sampled(
    rows: Iterable[Row], cap: int | None, seed: int, key: Callable[[Row], str]
) -> list[Row]:
    """Return at most ``cap`` rows per key, chosen by a hash of seed and row id, in file order."""
    if cap is None:
        return list(rows)
    by_key: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_key[key(row)].append(row)
    kept: list[Row] = []
    for members in by_key.values():
        limit = sorted(unit_hash(f"{seed}:{row.id}") for row in members)[:cap][-1]
        kept += [row for row in members if unit_hash(f"{seed}:{row.id}") <= limit][:cap]
    return kept
