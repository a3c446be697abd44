"""Passages that were read lately, so that candidates of common questions are not read again.

Reading and decoding a hundred candidates takes longer than the approximate index takes to find
them, and most of them come up again: answers differ from query to query far more in the order of
the candidates than in which they are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping
from sys import getsizeof
from typing import Generic, TypeVar

from app.core.types import Passage

CACHE_BYTES = 64 << 20
"""Memory that the cached passages of a shard may take, by estimate."""

# Measured with tracemalloc, and rounded up: 481 to 540 without metadata, most where it is nested.
_OBJECT_BYTES = 600
_BYTES_A_METADATA_CHARACTER = 12

K = TypeVar("K", bound=Hashable)


class PassageCache(Generic[K]):
    """The passages used last, within a bound on their memory.

    Whoever writes a passage tells ``forget`` first; the cache never looks at the store itself.

    Args:
        capacity: Bytes that all of them may take, by estimate.
    """

    def __init__(self, capacity: int = CACHE_BYTES) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[K, tuple[Passage, int]] = OrderedDict()
        self._bytes = 0

    @property
    def used(self) -> int:
        """Bytes that the kept passages take, by estimate."""
        return self._bytes

    def get(
        self, keys: Collection[K], read: Callable[[list[K]], Mapping[K, Passage]]
    ) -> dict[K, Passage]:
        """Return the passages of some keys.

        Args:
            keys: Which passages are wanted, each once.
            read: Called once with those that are not kept, if there are any.
        """
        kept = self._kept
        found: dict[K, Passage] = {}
        missing: list[K] = []
        for key in keys:
            entry = kept.get(key)
            if entry is None:
                missing.append(key)
            else:
                kept.move_to_end(key)
                found[key] = entry[0]
        if missing:
            for key, passage in read(missing).items():
                found[key] = passage
                self._keep(key, passage)
        return found

    def forget(self, keys: Collection[K]) -> None:
        """Drop passages that are about to change."""
        for key in keys:
            if key in self._kept:
                self._bytes -= self._kept.pop(key)[1]

    def _keep(self, key: K, passage: Passage) -> None:
        size = _size(passage)
        if size > self._capacity // 100:
            return  # not at the price of a hundred others
        self._kept[key] = (passage, size)
        self._bytes += size
        while self._bytes > self._capacity:
            _, (_, freed) = self._kept.popitem(last=False)
            self._bytes -= freed


def _size(passage: Passage) -> int:
    # Metadata is nested, and walking it would cost more than it is worth: its text stands for it.
    metadata = len(repr(passage.metadata)) if passage.metadata else 0
    return _OBJECT_BYTES + getsizeof(passage.text) + _BYTES_A_METADATA_CHARACTER * metadata
