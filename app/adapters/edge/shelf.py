"""The embedded collections of a deployment: directories side by side, one of which is served.

Layout::

    <name>/                 the first collection
    <name>@<fingerprint>/   collections of other encoders, made by ``isoglot reindex``
    <name>.served           which one is served, as JSON; missing while that is the first
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

from app.adapters.edge.record import indexed_with
from app.adapters.edge.store import EdgePassageStore
from app.adapters.stored_files import replace_text
from app.core.errors import StoreError
from app.core.ports import KeptStore
from app.core.types import IndexedWith, Served

SETTLE_SECONDS = 2.0
"""Collections build their index by themselves once nothing was written for this long."""


class EdgeShelf:
    """A ``Shelf`` in a directory.

    Args:
        directory: Holds the directories of the collections.
        name: Name of the first collection, and the first part of the names of the others.
        reserve: Bytes that stay free on the disk.
    """

    def __init__(self, directory: Path, name: str, *, reserve: int = 0) -> None:
        self._root = directory
        self._reserve = reserve
        self._name = name
        self._pointer = directory / f"{name}.served"
        self._is_ours = re.compile(re.escape(name) + r"(@[0-9a-f]+)?")

    async def served(self) -> Served | None:
        """Return the collection that is served; the first one where nothing else was chosen.

        Raises:
            StoreError: What was chosen cannot be read.
        """
        try:
            document = json.loads(self._pointer.read_text(encoding="utf-8"))
            chosen = Served(collection=document["collection"], bundle=document["bundle"])
        except FileNotFoundError:
            return Served(self._name)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(str(error)) from error
        if not self._is_ours.fullmatch(str(chosen.collection)):
            raise self._damaged(f"{chosen.collection!r} is no collection of {self._name!r}")
        return chosen

    async def indexed_with(self, collection: str) -> IndexedWith | None:
        """Return what a collection was indexed with; ``None`` where there is none yet."""
        return indexed_with(self._root / collection)

    async def collection_for(self, encoder_id: str) -> str:
        """Return the collection of an encoder: the first one, if it was indexed with it."""
        first = indexed_with(self._root / self._name)
        if first is None or first.encoder_id == encoder_id:
            return self._name
        return f"{self._name}@{encoder_id}"

    async def serve(self, served: Served) -> None:
        """Let another collection be the one that is served, atomically and durably.

        Raises:
            StoreError: The directory cannot be written; the choice is as before.
        """
        if not self._is_ours.fullmatch(served.collection):
            raise StoreError(f"{served.collection!r} is no collection of {self._name!r}.")
        replace_text(self._pointer, json.dumps(asdict(served), indent=2) + "\n")

    def store(self, collection: str) -> KeptStore:
        """Return a store over a collection; it is not open."""
        return EdgePassageStore(
            self._root / collection, settle_seconds=SETTLE_SECONDS, reserve=self._reserve
        )

    async def close(self) -> None:
        """Do nothing: embedded collections share nothing."""

    def _damaged(self, problem: str) -> StoreError:
        return StoreError(
            f"{self._pointer} cannot be used: {problem}. Restore it from a backup, or remove it to "
            f"serve {self._name!r}."
        )
