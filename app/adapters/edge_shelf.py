"""The embedded collections of a deployment: directories side by side, one of which is served.

Layout::

    <name>/                 the first collection
    <name>@<fingerprint>/   collections of other encoders, made by ``isoglot reindex``
    <name>.served           name of the one that is served; missing while that is the first
"""

from __future__ import annotations

import re
from pathlib import Path

from app.adapters.edge_directory import indexed_with, replace_text
from app.adapters.edge_store import EdgePassageStore
from app.core.errors import StoreError
from app.core.ports import PassageStore

SETTLE_SECONDS = 2.0
"""Collections build their index by themselves once nothing was written for this long."""


class EdgeShelf:
    """A ``Shelf`` in a directory.

    Args:
        directory: Holds the directories of the collections.
        name: Name of the first collection, and the first part of the names of the others.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._root = directory
        self._name = name
        self._pointer = directory / f"{name}.served"
        self._is_ours = re.compile(re.escape(name) + r"(@[0-9a-f]+)?")

    async def served(self) -> str | None:
        """Return the collection that is served; the first one where nothing else was chosen.

        Raises:
            StoreError: What was chosen cannot be read.
        """
        try:
            chosen = self._pointer.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return self._name
        except (OSError, UnicodeDecodeError) as error:
            raise self._damaged(str(error)) from error
        if not self._is_ours.fullmatch(chosen):
            raise self._damaged(f"{chosen!r} is no collection of {self._name!r}")
        return chosen

    async def collection_for(self, encoder_id: str) -> str:
        """Return the collection of an encoder: the first one, if it was indexed with it."""
        if indexed_with(self._root / self._name) in {encoder_id, None}:
            return self._name
        return f"{self._name}@{encoder_id}"

    async def serve(self, collection: str) -> None:
        """Let another collection be the one that is served, atomically and durably.

        Raises:
            StoreError: The directory cannot be written; the choice is as before.
        """
        if not self._is_ours.fullmatch(collection):
            raise StoreError(f"{collection!r} is no collection of {self._name!r}.")
        replace_text(self._pointer, f"{collection}\n")

    def store(self, collection: str) -> PassageStore:
        """Return a store over a collection; it is not open."""
        return EdgePassageStore(self._root / collection, settle_seconds=SETTLE_SECONDS)

    async def close(self) -> None:
        """Do nothing: embedded collections share nothing."""

    def _damaged(self, problem: str) -> StoreError:
        return StoreError(
            f"{self._pointer} cannot be used: {problem}. Write the name of a directory beside it "
            f"into it, or remove it to serve {self._name!r}."
        )
