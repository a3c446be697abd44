"""Room on the disk of an embedded store, asked for before anything is written.

The engine maps its files into memory. A page for which there is no room on the disk is a signal
(SIGBUS) that ends the process, not an error: a full disk has to be noticed before.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from app.adapters.stored_files import file_errors
from app.core.errors import StorageFullError


def require_room(directory: Path, *, reserve: int, wanted: int = 0) -> None:
    """Check that there is room.

    Args:
        directory: Where something is to be written; need not exist yet.
        reserve: Bytes that have to be free afterwards.
        wanted: Bytes that are going to be written.

    Raises:
        StorageFullError: There is not.
        StoreError: The disk cannot be asked.
    """
    with file_errors(f"ask how much is free at {directory}"):
        places = [directory, *directory.absolute().parents]
        free = shutil.disk_usage(next(place for place in places if place.is_dir())).free
    if free < reserve + wanted:
        raise StorageFullError(str(directory), free=free, needed=reserve + wanted)


def tree_bytes(root: Path) -> int:
    """Return how much the files below a directory take on the disk; holes in them take nothing."""
    with file_errors(f"look at {root}"):
        return sum(path.lstat().st_blocks * 512 for path in root.rglob("*"))
