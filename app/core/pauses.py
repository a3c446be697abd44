"""Pauses: work that holds the event loop for long lets others go on, by time and not by count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

SLICE_SECONDS = 0.002
"""How long work should hold the event loop."""

TURNS = 3
"""Turns of the event loop that others get: a request needs about that many to be answered, and
each turn without work takes some microseconds."""


async def pause() -> None:
    """Let others go on."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Pauses:
    """Lets others go on each time that work has held the event loop for long enough.

    Args:
        seconds: How long it may hold it.
        clock: Seconds that do not go back.
    """

    def __init__(
        self, seconds: float = SLICE_SECONDS, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until = clock() + seconds

    async def due(self) -> None:
        """Let others go on, if it is time to."""
        if self._clock() >= self._until:
            await pause()
            self._until = self._clock() + self._seconds
