"""Lines of an upload, cut out of blocks as they arrive, and gathered into pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

LINES_A_PIECE = 256
"""Most lines that are encoded and stored together."""

BYTES_A_PIECE = 4 << 20
"""Bytes after which a piece ends, although it has fewer lines."""

MAX_LINE_BYTES = 4 << 20
"""Longest line in bytes: a document of the greatest length, in any script, with metadata."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an upload; ``raw`` is ``None`` where it is longer than ``MAX_LINE_BYTES``."""

    number: int
    raw: bytes | None

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing but white space."""
        return self.raw is not None and not self.raw.strip()


async def split_lines(
    stream: AsyncIterator[bytes], max_line_bytes: int = MAX_LINE_BYTES
) -> AsyncIterator[Line]:
    """Yield the lines of a stream that are not blank; holds at most one line and one block."""
    number = 1
    rest = b""
    too_long = False
    async for block in stream:
        *complete, rest = (rest + block).split(b"\n")
        for raw in complete:
            line = Line(number, None if too_long or len(raw) > max_line_bytes else raw)
            if not line.is_blank:
                yield line
            number += 1
            too_long = False
        if too_long or len(rest) > max_line_bytes:
            too_long, rest = True, b""
    last = Line(number, None if too_long else rest)
    if not last.is_blank:
        yield last


async def pieces(lines: AsyncIterator[Line]) -> AsyncIterator[list[Line]]:
    """Yield lines in pieces that are stored together: bounded in number and in bytes."""
    piece: list[Line] = []
    size = 0
    async for line in lines:
        piece.append(line)
        size += len(line.raw or b"")
        if len(piece) == LINES_A_PIECE or size >= BYTES_A_PIECE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
