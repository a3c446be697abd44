"""Serves the calibrators that were chosen: a change is noticed within a second.

Requests that are under way keep what they began with, because nothing of it is changed: the
runtime is replaced as a whole, and an answer names the calibrator that judged it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from app.adapters.calibrator_shelf import CalibratorShelf, Chosen
from app.core.errors import IsoglotError
from app.generations import Generations

LOOK_SECONDS = 1.0
_log = structlog.stdlib.get_logger(__name__)


class CalibratorFollower:
    """Looks at the shelf, and has its choice served where it or the bundle has changed.

    Args:
        generations: What answers; with the bundle's own calibrator where nothing was chosen.
    """

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        settings = generations.runtime.settings
        self._shelf = CalibratorShelf.of(settings.data_dir, settings.collection)
        self._seen: object = (None, generations.runtime.bundle.manifest.id)
        self.look()

    async def follow(self, stopping: asyncio.Event) -> None:
        """Look once a second until told to stop."""
        while not stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Serve another choice, if there is one; what cannot be served leaves the former."""
        bundle = self._generations.runtime.bundle
        seen = (self._shelf.signature(), bundle.manifest.id)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            chosen = self._shelf.chosen(bundle)
        except IsoglotError as error:
            _log.error("calibrator_not_usable", reason=str(error))
            return
        if chosen.is_void:
            _log.warning("choice_of_another_bundle", served="the bundle's own calibrator")
        self._generations.serve_calibrators(
            chosen.active, shadow=chosen.shadow, previous=chosen.previous
        )
        _log.info("calibrators_served", **_named(chosen))


def _named(chosen: Chosen) -> dict[str, str | None]:
    return {
        "active": None if chosen.active is None else chosen.active.id,
        "shadow": None if chosen.shadow is None else chosen.shadow.id,
    }
