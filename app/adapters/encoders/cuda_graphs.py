"""Forward passes of short texts on a GPU, recorded once for each shape and replayed.

A pass over a query launches some hundred kernels of microseconds each, and launching them one by
one takes longer than they do. A CUDA graph launches them at once. It is bound to one shape, so the
texts are padded to one of few.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable

import torch
from torch import Tensor

ROWS = (1, 2, 4, 8, 16, 32, 64)
"""Texts of one recorded pass."""

MAX_TOKENS = 64
"""Longer texts keep the GPU busy for longer than it takes to launch their kernels."""

_SHORTEST = 16
_WARM_UPS = 3
Embed = Callable[[Tensor, Tensor], Tensor]


class CudaGraphs:
    """Replays an encoder's forward pass. Thread-safe.

    Args:
        embed: From token ids and mask, int64 of shape (n, length), to vectors of shape (n, dim);
            on the GPU, and without a look at any value.
        device: The GPU.
        padding: The id of the padding token.

    Raises:
        RuntimeError: The pass cannot be recorded.
    """

    def __init__(self, embed: Embed, device: torch.device, padding: int) -> None:
        self._embed = embed
        self._device = device
        self._padding = padding
        self._pool = torch.cuda.graph_pool_handle()
        self._recorded: dict[tuple[int, int], _Recording] = {}
        # Whoever replays overwrites what is read and written by the one before.
        self._lock = threading.Lock()
        with torch.inference_mode():
            self._recording((1, _SHORTEST))  # fails here rather than at a query

    @staticmethod
    def fits(rows: int, length: int) -> bool:
        """Return whether a batch is small enough to be worth a recording."""
        return rows <= ROWS[-1] and length <= MAX_TOKENS

    def __call__(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """Return the vectors of a batch that fits, of shape (n, dim), on the CPU.

        Args:
            token_ids: int64 of shape (n, length), on the CPU.
            mask: 1 where there is a token, of the same shape.
        """
        rows, length = token_ids.shape
        shape = (padded_rows(rows), length)
        with self._lock:
            return self._recording(shape).replay(token_ids, mask)

    def _recording(self, shape: tuple[int, int]) -> _Recording:
        if shape not in self._recorded:
            token_ids = torch.full(shape, self._padding, device=self._device)
            self._recorded[shape] = _Recording(self._embed, token_ids, self._pool)
        return self._recorded[shape]


def padded_rows(rows: int) -> int:
    """Return the fewest rows, of those that are recorded, that hold so many."""
    return ROWS[bisect_left(ROWS, rows)]


class _Recording:
    """One pass, with the memory that it reads from and writes to."""

    def __init__(self, embed: Embed, token_ids: Tensor, pool: object) -> None:
        self._token_ids = token_ids
        # Rows that nobody fills keep their tokens, so that none divides by a length of nothing.
        self._mask = torch.ones_like(token_ids)
        stream = torch.cuda.Stream(token_ids.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(token_ids.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):  # libraries choose kernels and take memory, unrecorded
                embed(self._token_ids, self._mask)
        torch.cuda.current_stream(token_ids.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # Passages may be encoded on another thread meanwhile, which is not to be recorded.
        with torch.cuda.graph(
            self._graph,
            pool,  # type: ignore[arg-type]
            stream,
            capture_error_mode="thread_local",
        ):
            self._vectors = embed(self._token_ids, self._mask)

    def replay(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        rows = len(token_ids)
        self._token_ids[:rows].copy_(token_ids)
        self._mask[:rows].copy_(mask)
        self._graph.replay()
        return self._vectors[:rows].cpu()
