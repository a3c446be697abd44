"""A deployment copied at rest: what is asked and archived is the copy, and nobody writes to it.

Layout::

    data/...   a data directory
    keys       the key file, where there is one

The copy is made while every collection is locked, and needs no lock afterwards: a service may
start again while its known queries are asked and the archive is written.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO

from app.adapters.calibrator_shelf import DIRECTORY as CALIBRATORS
from app.adapters.disk_room import require_room
from app.adapters.edge.directory import LOCK_FILE, hold_directory
from app.adapters.edge.record import RECORD_FILE
from app.adapters.feedback.sql import LOG_FILE
from app.adapters.stored_files import file_errors, remove_tree
from app.core.errors import BackupError

DATA = "data"
KEYS = "keys"
STAGE = ".backing-up"
RESTORING = ".restoring"
PRIVATE = 0o600

LOG_FILES = frozenset(f"{LOG_FILE}{end}" for end in ("", "-wal", "-shm", "-journal"))
"""The feedback log in a data directory."""

_BLOCK = 1 << 20
_HOLE = bytes(_BLOCK)

OnBytes = Callable[[int, int], None]
"""Is told how many bytes are done, and how many there are."""


@contextmanager
def stage_in(directory: Path, *, wanted: int, reserve: int) -> Iterator[Path]:
    """Make a place for a copy, and remove it afterwards, whatever happens.

    Args:
        directory: What an interrupted call left in it is removed.
        wanted: Bytes that are going to be written there.
        reserve: Bytes that stay free on its disk.

    Raises:
        StorageFullError: There is no room.
        StoreError: Nothing can be written there.
    """
    stage = directory / STAGE
    remove_tree(stage)
    require_room(directory, reserve=reserve, wanted=wanted)
    try:
        with file_errors(f"copy into {stage}"):
            stage.mkdir(mode=0o700, parents=True)
            (stage / DATA).mkdir()
        yield stage
    finally:
        remove_tree(stage)


def copy_deployment(
    data_dir: Path,
    key_file: Path | None,
    stage: Path,
    on_bytes: OnBytes,
    *,
    leave: Collection[str] = (),
) -> None:
    """Copy a data directory and a key file while nobody changes them.

    Args:
        data_dir: What is copied.
        key_file: Copied with it, where it exists.
        stage: From ``stage_in``.
        on_bytes: Is told how far it is.
        leave: Names of what is not copied.

    Raises:
        StoreLockedError: A service has one of the collections open.
        BackupError: The feedback log is no database.
        StoreError: A file cannot be read or written.
    """
    with _at_rest(data_dir), file_errors(f"copy {data_dir}"):
        paths = [
            path
            for path in sorted(data_dir.rglob("*"))
            if path.is_file() and _belongs(path.relative_to(data_dir), leave)
        ]
        total, done = sum(path.stat().st_size for path in paths), 0
        for path in paths:
            target = stage / DATA / path.relative_to(data_dir)
            target.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as source:
                copy_with_holes(source, target)
            target.chmod(path.stat().st_mode & 0o777)
            on_bytes(done := done + path.stat().st_size, total)
        if LOG_FILE not in leave and (data_dir / LOG_FILE).is_file():
            _copy_database(data_dir / LOG_FILE, stage / DATA / LOG_FILE)
        if key_file is not None and key_file.is_file():
            (stage / KEYS).write_bytes(key_file.read_bytes())
            (stage / KEYS).chmod(PRIVATE)


def copy_with_holes(source: IO[bytes], target: Path) -> str:
    """Write a file, leaving holes where there is nothing but zeros; return its sha256."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        while block := source.read(_BLOCK):
            digest.update(block)
            # Compared, not searched: of a collection of three passages 159 MB are nearly all holes.
            if block == _HOLE[: len(block)]:
                file.seek(len(block), os.SEEK_CUR)
            else:
                file.write(block)
        file.truncate()
    return digest.hexdigest()


def collections_in(data_dir: Path) -> set[str]:
    """Return the names of what keeps passages in a data directory, or says which are served."""
    return {path.parent.name for path in data_dir.glob(f"*/{RECORD_FILE}")} | {
        path.name for path in data_dir.glob("*.served")
    }


def _belongs(relative: Path, leave: Collection[str]) -> bool:
    never = {STAGE, RESTORING, *LOG_FILES}
    return relative.name != LOCK_FILE and relative.parts[0] not in {*never, *leave}


@contextmanager
def _at_rest(data_dir: Path) -> Iterator[None]:
    """Keep everybody from opening a collection, and from choosing a calibrator."""
    with ExitStack() as held:
        for lock in sorted(data_dir.glob(f"*/{LOCK_FILE}")):
            held.enter_context(hold_directory(lock.parent))
        for shelf in sorted(data_dir.glob(f"{CALIBRATORS}/*/")):
            descriptor = os.open(shelf, os.O_RDONLY)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database of SQLite as it is between two transactions, whoever writes to it."""
    try:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)
    except sqlite3.Error as error:
        raise BackupError(
            f"The feedback log {source} cannot be copied: {error}. Restore it from a backup, or "
            "move it away to go without."
        ) from error
    target.chmod(source.stat().st_mode & 0o777)
