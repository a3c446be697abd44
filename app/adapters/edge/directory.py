"""The directory of an embedded collection: one opener, one encoder, one live shard.

Layout::

    LOCK              locked while a store has the directory open; holds its process id
    collection.json   what the collection was indexed with, and which shard is live
    shard-<8 hex>/    a shard of the engine; every one but the live one is a leftover

``collection.json`` (``record.py``) alone decides what the directory means. It is written before
there is a shard (``"shard": null``) and again once the shard is complete, so a shard that a crash
left half-created is never taken for data, nor data for a leftover.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Self

from app.adapters.edge.record import (
    RECORD_FILE,
    CollectionRecord,
    bind_record,
    shard_paths,
    write_record,
)
from app.adapters.stored_files import file_errors, remove_tree
from app.core.errors import StoreError, StoreLockedError
from app.core.types import CollectionSpec, FieldKind

LOCK_FILE = "LOCK"


class CollectionDirectory:
    """A directory that this store alone has open; made by ``claim``, given back by ``release``.

    Args:
        root: The directory.
        lock: Its lock file, locked.
        record: What the collection was indexed with, and which shard is live.
    """

    def __init__(self, root: Path, lock: IO[str], record: CollectionRecord) -> None:
        self._root = root
        self._lock = lock
        self._record = record

    @classmethod
    def claim(cls, root: Path, spec: CollectionSpec) -> Self:
        """Lock the directory, making it where it is missing, and bind it to a collection.

        Raises:
            StoreLockedError: A store, of this process or of another, has it open.
            EncoderMismatchError: It was indexed with another encoder.
            StoreError: It holds another collection, is damaged, or cannot be used.
        """
        lock = _lock(root)
        try:
            return cls(root, lock, bind_record(root, spec))
        except BaseException:
            lock.close()
            raise

    def release(self) -> None:
        """Let others open the directory."""
        self._lock.close()

    @property
    def live_shard(self) -> Path | None:
        """The shard that holds the passages; ``None`` where none has been created yet.

        Raises:
            StoreError: It is missing.
        """
        if self._record.shard is None:
            return None
        path = self._root / self._record.shard
        if not path.is_dir():
            raise StoreError(
                f"{self._root / RECORD_FILE} names {path.name}, but that directory is missing. "
                "Restore it from a backup, or remove the whole data directory and index again."
            )
        return path

    @property
    def fields(self) -> Mapping[str, FieldKind]:
        """Declared fields whose values every point of the live shard holds."""
        return self._record.fields

    @property
    def indexed(self) -> int | None:
        """As ``CollectionRecord``."""
        return self._record.indexed

    def declare_words(self) -> None:
        """Record that every point of the live shard holds its words, durably.

        Raises:
            StoreError: The directory cannot be written; the old record stays.
        """
        record = replace(self._record, indexed=0)
        write_record(self._root, record)
        self._record = record

    def declare(self, fields: Mapping[str, FieldKind]) -> None:
        """Record the declared fields, durably.

        Raises:
            StoreError: The directory cannot be written; the old fields stay.
        """
        record = replace(self._record, fields=dict(fields))
        write_record(self._root, record)
        self._record = record

    def new_shard(self) -> Path:
        """Return a path, not yet taken, for a shard that may go live."""
        return self._root / f"shard-{secrets.token_hex(4)}"

    def go_live(self, shard: Path, indexed: int | None = None) -> None:
        """Make a complete shard the live one, atomically and durably.

        Args:
            shard: Its directory.
            indexed: As ``CollectionRecord``, of that shard.

        Raises:
            StoreError: The directory cannot be written; the old shard stays live.
        """
        record = replace(self._record, shard=shard.name, indexed=indexed)
        write_record(self._root, record)
        self._record = record

    def remove_leftovers(self) -> None:
        """Remove every shard but the live one, as far as that is possible."""
        for path in shard_paths(self._root):
            if path.name != self._record.shard:
                remove_tree(path)


@contextmanager
def hold_directory(root: Path) -> Iterator[None]:
    """Keep everybody from opening a collection.

    Raises:
        StoreLockedError: Somebody has it open.
        StoreError: Its directory cannot be used.
    """
    lock = _lock(root)
    try:
        yield
    finally:
        lock.close()


def _lock(root: Path) -> IO[str]:
    with file_errors(f"use the data directory {root}"):
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / LOCK_FILE).open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise StoreLockedError(
                f"The data directory {root} is open already, in process {holder}. One process "
                "at a time can use it: stop that process, run the service with one worker, or "
                "give this one a data directory of its own."
            ) from error
    return lock
