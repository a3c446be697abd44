"""Building the index by itself: once writing has settled, never in the middle of an upload."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from app.core.errors import StoreError, StoreUnavailableError

RETRY_SECONDS = 60.0
"""Pause after a build that failed."""

_log = logging.getLogger(__name__)


class SettledBuilds:
    """Calls for a build when there have been writes and then none for a while.

    Args:
        build: Builds if there is reason to; returns whether it did.
        settle_seconds: How long nothing must have been written; ``None`` never builds.
    """

    def __init__(self, build: Callable[[], Awaitable[bool]], settle_seconds: float | None) -> None:
        self._build = build
        self._seconds = settle_seconds
        self._written = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start looking; what was written before counts as written now."""
        if self._seconds is not None:
            self._written.set()
            self._running = asyncio.create_task(self._watch(self._seconds))

    def written(self) -> None:
        """Take note of a write."""
        self._written.set()

    async def end(self) -> None:
        """Stop looking, and a build that was begun by it."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _watch(self, seconds: float) -> None:
        while True:
            await self._written.wait()
            while self._written.is_set():
                self._written.clear()
                await asyncio.sleep(seconds)
            try:
                if await self._build():
                    _log.info("The index was built.")
            except StoreUnavailableError:
                return  # closed meanwhile, or somebody else builds
            except StoreError as error:
                _log.error("The index could not be built: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                self._written.set()
