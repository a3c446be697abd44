"""Notices within a second that another calibrator was chosen."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from app.adapters.calibrator_shelf import CalibratorShelf
from app.generations import Generations

LOOK_SECONDS = 1.0


class CalibratorFollower:
    """Looks at the shelf, and has the choice served where it has changed.

    Args:
        shelf: Where the choice lies.
    """

    def __init__(self, shelf: CalibratorShelf) -> None:
        self._shelf = shelf
        self._seen = shelf.signature()

    async def follow(self, generations: Generations, stopping: asyncio.Event) -> None:
        """Look once a second until told to stop.

        Args:
            generations: What answers, with a choice that was read after this was made.
            stopping: Set to end it.
        """
        while not stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK_SECONDS)
            self.look(generations)

    def look(self, generations: Generations) -> None:
        """Have another choice served, if there is one."""
        if (seen := self._shelf.signature()) != self._seen:
            self._seen = seen
            generations.choose_anew()
