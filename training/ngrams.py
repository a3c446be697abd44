"""Finds text that two collections share, by runs of letters that are the same in both.

A text is compared without case, punctuation and white space; only letters, marks and digits are
left. Every run of ``n`` of them is hashed by a polynomial over 64 bits (Karp and Rabin 1987), all
at once with numpy; a hit is then compared letter by letter, so a collision is never reported.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

CodeArray: TypeAlias = NDArray[np.uint32]
HashArray: TypeAlias = NDArray[np.uint64]
PositionArray: TypeAlias = NDArray[np.int64]

SEPARATOR = np.uint32(0)
_BASE = 0x9E3779B97F4A7C15  # odd, so that no letter is lost; any other odd number would do
_MASK = 2**64 - 1
_MIN_FILTER_BITS = 16
_MAX_FILTER_BITS = 28


@cache
def _is_kept() -> NDArray[np.bool_]:
    """Return for every code point whether it is a letter, a mark or a digit."""
    kept = (unicodedata.category(chr(code))[0] in "LMN" for code in range(0x110000))
    return np.fromiter(kept, np.bool_, 0x110000)


def comparable(text: str) -> str:
    """Return a text without regard to case and width of letters."""
    folded = text.casefold()
    return folded if folded.isascii() else unicodedata.normalize("NFKC", folded)


def letters(text: str) -> tuple[CodeArray, PositionArray]:
    """Return the code points that are compared, and where they stand in ``comparable(text)``."""
    raw = np.frombuffer(comparable(text).encode("utf-32-le", "surrogatepass"), np.uint32)
    positions = np.flatnonzero(_is_kept()[raw])
    return raw[positions], positions


def gram_hashes(codes: CodeArray, n: int) -> HashArray:
    """Return the hash of every run of ``n`` code points.

    Args:
        codes: (length,) uint32.
        n: Length of a run.

    Returns:
        (max(0, length - n + 1),) uint64.
    """
    if len(codes) < n:
        return np.empty(0, np.uint64)
    # hashes[i] covers `covered` code points from i on; spans of twice the length are made of two.
    hashes, span = codes.astype(np.uint64), 1
    result, covered = np.zeros(len(codes) - n + 1, np.uint64), 0
    while True:
        if n & span:
            power = np.uint64(pow(_BASE, span, _MASK + 1))
            result = result * power + hashes[covered : covered + len(result)]
            covered += span
        if covered == n:
            return result
        power = np.uint64(pow(_BASE, span, _MASK + 1))
        hashes = hashes[:-span] * power + hashes[span:]
        span *= 2


@dataclass(frozen=True, slots=True)
class SharedRun:
    """The longest run that a text shares with an index.

    Attributes:
        start: Where it begins in the text's letters.
        length: Number of letters.
        text: Number of the indexed text that it begins in.
    """

    start: int
    length: int
    text: int


class GramIndex:
    """All runs of ``n`` letters of some texts; 12 bytes for each, and 4 for each letter.

    Args:
        texts: Letters of the texts.
        n: Length of a run.
    """

    def __init__(self, texts: Sequence[CodeArray], n: int) -> None:
        self._n = n
        self._codes, self._starts = join(texts)
        positions = np.flatnonzero(_without(self._codes, SEPARATOR, n))
        hashes = gram_hashes(self._codes, n)[positions]
        order = np.argsort(hashes, kind="stable")
        self._hashes, first = np.unique(hashes[order], return_index=True)
        self._positions = positions[order][first].astype(np.uint32)
        bits = int(16 * len(self._hashes)).bit_length()
        self._shift = np.uint64(64 - min(max(bits, _MIN_FILTER_BITS), _MAX_FILTER_BITS))
        self._filter = np.zeros(1 << (64 - int(self._shift)), np.bool_)
        self._filter[self._hashes >> self._shift] = True

    def __len__(self) -> int:
        return len(self._hashes)

    def longest_runs(self, texts: Sequence[CodeArray]) -> dict[int, SharedRun]:
        """Return the longest shared run of every text that shares one, by its number."""
        codes, starts = join(texts)
        positions, found = self._hits(codes)
        if not len(positions):
            return {}
        texts_of = np.searchsorted(starts, positions, side="right") - 1
        begins = np.flatnonzero(np.diff(positions, prepend=-2) != 1)
        lengths = np.diff(begins, append=len(positions)) + self._n - 1
        runs: dict[int, SharedRun] = {}
        for begin, length in zip(begins.tolist(), lengths.tolist(), strict=True):
            number = int(texts_of[begin])
            if number not in runs or runs[number].length < length:
                start = int(positions[begin] - starts[number])
                indexed = int(np.searchsorted(self._starts, found[begin], side="right")) - 1
                runs[number] = SharedRun(start, length, indexed)
        return runs

    def _hits(self, codes: CodeArray) -> tuple[PositionArray, PositionArray]:
        """Return where shared runs of ``n`` begin, there and here; both (hits,)."""
        hashes = gram_hashes(codes, self._n)
        maybe = np.flatnonzero(self._filter[hashes >> self._shift])
        there = np.searchsorted(self._hashes, hashes[maybe])
        there[there == len(self._hashes)] = 0
        equal = self._hashes[there] == hashes[maybe] if len(self._hashes) else maybe < 0
        maybe, here = maybe[equal], self._positions[there[equal]].astype(np.int64)
        offsets = np.arange(self._n)
        # Compared letter by letter; in slices, because every hit takes n cells twice.
        same = np.empty(len(maybe), np.bool_)
        for low in range(0, len(maybe), 4096):
            part = slice(low, low + 4096)
            one = codes[maybe[part, None] + offsets]
            same[part] = (one == self._codes[here[part, None] + offsets]).all(axis=1)
        return maybe[same], here[same]


def join(texts: Sequence[CodeArray]) -> tuple[CodeArray, PositionArray]:
    """Return texts in one array, a separator after each, and where each begins."""
    lengths = np.array([len(text) + 1 for text in texts], np.int64)
    ends = np.cumsum(lengths)
    codes = np.full(int(ends[-1]) if len(ends) else 0, SEPARATOR, np.uint32)
    starts = ends - lengths
    for start, text in zip(starts.tolist(), texts, strict=True):
        codes[start : start + len(text)] = text
    return codes, starts


def _without(codes: CodeArray, value: np.uint32, n: int) -> NDArray[np.bool_]:
    """Return for every run of ``n`` whether it does not hold a value."""
    if len(codes) < n:
        return np.empty(0, np.bool_)
    seen = np.cumsum(codes == value, dtype=np.int64)
    before = np.concatenate([[0], seen[: len(codes) - n]])
    result: NDArray[np.bool_] = seen[n - 1 :] == before
    return result
