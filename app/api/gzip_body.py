"""Request bodies compressed with gzip: unpacked as they arrive, within bounds."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

BLOCK_BYTES = 1 << 16
"""Most bytes unpacked at a time."""

MAX_UNPACKED_BYTES = 64 << 30
"""Longest upload, unpacked."""

MAX_RATIO = 200
"""How many bytes one compressed byte may stand for, beyond the first ``FREE_BYTES``; ordinary
text stays below ten, and a body that is made to fill memory comes near a thousand."""

FREE_BYTES = 1 << 20
"""Unpacked bytes for which the ratio is not looked at."""

_GZIP = 16 + zlib.MAX_WBITS


class MalformedGzipError(ValueError):
    """A body that is not gzip, is cut off, or unpacks to more than is allowed."""


async def unpacked(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what a gzip stream holds; several members one after another are one stream.

    Args:
        stream: The compressed bytes.

    Raises:
        MalformedGzipError: They are not gzip, are cut off, or exceed the bounds.
    """
    decoder = _Decoder()
    async for block in stream:
        rest = block
        while rest:
            data, rest = decoder.unpack(rest)
            if data:
                yield data
    decoder.finish()


class _Decoder:
    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._packed = 0
        self._unpacked = 0
        self._is_inside = False

    def unpack(self, block: bytes) -> tuple[bytes, bytes]:
        """Return some of what a block holds, and what of the block is left."""
        self._is_inside = True
        try:
            data = self._member.decompress(block, BLOCK_BYTES)
        except zlib.error as error:
            raise MalformedGzipError(f"The body is not gzip: {error}.") from error
        rest = self._member.unconsumed_tail
        if self._member.eof:
            rest = self._member.unused_data
            self._member = zlib.decompressobj(_GZIP)
            self._is_inside = False
        self._count(len(block) - len(rest), len(data))
        return data, rest

    def finish(self) -> None:
        if self._is_inside:
            raise MalformedGzipError("The body is cut off in the middle of its gzip stream.")

    def _count(self, packed: int, unpacked: int) -> None:
        self._packed += packed
        self._unpacked += unpacked
        if self._unpacked > min(FREE_BYTES + MAX_RATIO * self._packed, MAX_UNPACKED_BYTES):
            raise MalformedGzipError(
                f"The body unpacks to more than {MAX_RATIO} times its size, or to more than "
                f"{MAX_UNPACKED_BYTES} bytes. Send it in parts, or uncompressed."
            )
