"""The write-ahead log of a shard: once it is on the disk, its writes survive loss of power.

The engine syncs nothing but in ``flush``, which holds the interpreter's lock for as long as the
disk takes for every file of the shard. Its log alone is enough, because loading replays it, and
can be synced from a thread while searches go on.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from app.adapters.stored_files import file_errors
from app.adapters.whole_files import sync

LOG_DIRECTORY = "wal"


def sync_log(shard: Path) -> None:
    """Return once every write that the engine has logged is on the disk.

    Args:
        shard: Directory of the shard.

    Raises:
        StoreError: The log cannot be written.
    """
    log = shard / LOG_DIRECTORY
    with file_errors(f"write {log} to disk"):
        for path in log.iterdir():
            with suppress(FileNotFoundError):  # the engine prepares files under other names
                sync(path)
        sync(log)
