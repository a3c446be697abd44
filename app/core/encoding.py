"""One thread that encodes, so that the event loop never waits for a forward pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from app.core.encoder_spec import EncoderSpec
from app.core.errors import EncodingError
from app.core.ports import Encoder
from app.core.types import VectorArray

PASSAGES_A_PASS = 64
"""Passages encoded in one go; a query waits at most for one such pass."""


class EncoderThread:
    """Runs an encoder on a thread of its own and checks what comes back."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")

    @property
    def spec(self) -> EncoderSpec:
        """The contract of the encoder."""
        return self._encoder.spec

    async def encode_query(self, text: str) -> VectorArray:
        """Embed one query, float32 of shape (dim,); raises as ``Encoder.encode_queries``."""
        row: VectorArray = (await self.encode_queries([text]))[0]
        return row

    async def encode_queries(self, texts: Sequence[str]) -> VectorArray:
        """Embed queries in one pass, float32 of shape (len(texts), dim); raises as above."""
        return await self._run(self._encoder.encode_queries, texts)

    async def encode_passages(self, texts: Sequence[str]) -> VectorArray:
        """Embed passages, float32 of shape (len(texts), dim); queries may go in between."""
        passes = [
            await self._run(self._encoder.encode_passages, texts[start : start + PASSAGES_A_PASS])
            for start in range(0, len(texts), PASSAGES_A_PASS)
        ]
        return np.concatenate(passes) if passes else np.zeros((0, self.spec.dim), np.float32)

    def close(self) -> None:
        """Let the pass that is running finish, and stop the thread."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def _run(
        self, encode: Callable[[Sequence[str]], VectorArray], texts: Sequence[str]
    ) -> VectorArray:
        loop = asyncio.get_running_loop()
        vectors = await loop.run_in_executor(self._executor, encode, texts)
        expected = (len(texts), self.spec.dim)
        if vectors.shape != expected:
            raise EncodingError(f"The encoder returned shape {vectors.shape}, not {expected}.")
        if not np.isfinite(vectors).all():
            raise EncodingError("The encoder returned numbers that are not finite.")
        return vectors
