"""Vectors of queries that were asked lately: real traffic repeats itself."""

from __future__ import annotations

from collections import OrderedDict

from app.core.types import VectorArray

CACHE_BYTES = 32 << 20
"""Memory that cached vectors may take."""

_ENTRY_BYTES = 300
"""What an entry takes beside its vector and the letters of its text."""


class VectorCache:
    """The vectors used last, by the exact text, within a bound on their memory.

    It belongs to one encoder, and so to one bundle: another bundle begins with an empty one.

    Args:
        capacity: Bytes that all entries may take; 0 keeps none.
    """

    def __init__(self, capacity: int = CACHE_BYTES) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[str, VectorArray] = OrderedDict()
        self._bytes = 0

    @property
    def used(self) -> int:
        """Bytes that the entries take."""
        return self._bytes

    def get(self, text: str) -> VectorArray | None:
        """Return the vector of a text, if it is kept, and keep it for longer."""
        vector = self._kept.get(text)
        if vector is not None:
            self._kept.move_to_end(text)
        return vector

    def put(self, text: str, vector: VectorArray) -> None:
        """Keep the vector of a text; the ones used longest ago make room.

        Args:
            text: As it was asked.
            vector: float32 of shape (dim,); a copy is kept, which nobody can write to.
        """
        size = _size(text, vector)
        if text in self._kept or size > self._capacity:
            return
        kept = vector.copy()
        kept.flags.writeable = False
        self._kept[text] = kept
        self._bytes += size
        while self._bytes > self._capacity:
            self._bytes -= _size(*self._kept.popitem(last=False))


def _size(text: str, vector: VectorArray) -> int:
    return _ENTRY_BYTES + vector.nbytes + 4 * len(text)
