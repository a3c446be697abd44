"""The directory of an embedded collection: one opener, one encoder, one live shard.

Layout::

    LOCK              locked while a store has the directory open; holds its process id
    collection.json   what the collection was indexed with, and which shard is live
    shard-<8 hex>/    a shard of the engine; every one but the live one is a leftover

``collection.json`` is replaced atomically, and it alone decides what the directory means. It is
written before there is a shard (``"shard": null``) and again once the shard is complete, so a
shard that a crash left half-created is never taken for data, nor data for a leftover.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Self

from app.adapters.whole_files import sync, write_whole
from app.core.errors import EncoderMismatchError, StoreError, StoreLockedError
from app.core.passages.fields import check_fields
from app.core.types import CollectionSpec, FieldKind, IndexedWith

SCHEMA = 1
"""Version of ``collection.json`` and of what a point holds."""

LOCK_FILE = "LOCK"
RECORD_FILE = "collection.json"
SHARD_NAME = re.compile(r"shard-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """What ``collection.json`` says.

    Attributes:
        name: Collection name.
        encoder_id: Fingerprint of the encoder of all its vectors.
        dim: Number of dimensions of its vectors.
        shard: Directory name of the live shard; ``None`` until it has been created.
        schema: Version of the format.
        fields: Declared fields whose values every point of the live shard holds.
        indexed: Where every point of the live shard holds its words: how many points its
            approximate index covers. ``None`` where points hold no words, and then not written,
            so that versions from before there were words read the record.
    """

    name: str
    encoder_id: str
    dim: int
    shard: str | None = None
    schema: int = SCHEMA
    fields: dict[str, FieldKind] = field(default_factory=dict)
    indexed: int | None = None


@contextmanager
def file_errors(action: str) -> Iterator[None]:
    """Translate what the operating system raises.

    Args:
        action: What was tried, to complete "Cannot ...".

    Raises:
        StoreError: An ``OSError`` was raised inside.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(f"Cannot {action}: {error}") from error


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
            return cls(root, lock, _bind(root, spec))
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
        _write(self._root, record)
        self._record = record

    def declare(self, fields: Mapping[str, FieldKind]) -> None:
        """Record the declared fields, durably.

        Raises:
            StoreError: The directory cannot be written; the old fields stay.
        """
        record = replace(self._record, fields=dict(fields))
        _write(self._root, record)
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
        _write(self._root, record)
        self._record = record

    def remove_leftovers(self) -> None:
        """Remove every shard but the live one, as far as that is possible."""
        for path in _shards(self._root):
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


def copy_tree(source: Path, target: Path) -> None:
    """Copy a directory that nobody writes to meanwhile.

    Raises:
        StoreError: It cannot be copied, for want of space for example.
    """
    with file_errors(f"copy {source} to {target}"):
        shutil.copytree(source, target)


def remove_tree(root: Path) -> None:
    """Remove a directory as far as that is possible; the next ``open`` tries again."""
    shutil.rmtree(root, ignore_errors=True)


def indexed_with(root: Path) -> IndexedWith | None:
    """Return what a collection was indexed with; ``None`` where there is no collection yet.

    Raises:
        StoreError: Its record cannot be read.
    """
    record = _read(root)
    return None if record is None else IndexedWith(record.encoder_id, record.dim)


def replace_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all, so that it survives loss of power.

    Raises:
        StoreError: It cannot be written; what was there stays.
    """
    with file_errors(f"write {path}"):
        write_whole(path, text)


def sync_tree(root: Path) -> None:
    """Make all files and directories below ``root`` survive loss of power.

    Raises:
        StoreError: A file cannot be read.
    """
    with file_errors(f"write {root} to disk"):
        for directory, _, files in os.walk(root):
            for path in [*(Path(directory, name) for name in files), Path(directory)]:
                sync(path)


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


def _bind(root: Path, spec: CollectionSpec) -> CollectionRecord:
    """Read what the directory was indexed with, or write it into a directory that is new."""
    record = _read(root)
    if record is None:
        if orphans := [path.name for path in _shards(root)]:
            raise StoreError(
                f"{root} holds {', '.join(orphans)} but no {RECORD_FILE}, so nobody can tell "
                "which encoder its passages were indexed with. Restore that file from a backup, "
                "or remove the whole data directory and index again."
            )
        record = CollectionRecord(name=spec.name, encoder_id=spec.encoder_id, dim=spec.dim)
        _write(root, record)
    if record.encoder_id != spec.encoder_id:
        raise EncoderMismatchError(
            collection=record.name, indexed_with=record.encoder_id, loaded=spec.encoder_id
        )
    if (record.name, record.dim) != (spec.name, spec.dim):
        raise StoreError(
            f"{root} holds collection {record.name!r} with vectors of {record.dim} dimensions, "
            f"not {spec.name!r} with {spec.dim}. Use another data directory."
        )
    return record


def _read(root: Path) -> CollectionRecord | None:
    path = root / RECORD_FILE
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
        record = CollectionRecord(**document)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(path, str(error)) from error
    problem = _record_problem(record)
    if problem is not None:
        raise _damaged(path, problem)
    return record


def _record_problem(record: CollectionRecord) -> str | None:
    if record.schema != SCHEMA:
        return f"it has schema {record.schema!r}, and this version reads schema {SCHEMA}"
    types = {"name": str, "encoder_id": str, "dim": int}
    if record.indexed is not None:
        types["indexed"] = int
    for name, expected in types.items():
        if not isinstance(getattr(record, name), expected):
            return f"its {name} is not of type {expected.__name__}"
    if record.shard is not None and not SHARD_NAME.fullmatch(str(record.shard)):
        return f"its shard {record.shard!r} is not the name of a shard"
    try:
        check_fields(record.fields)
    except (ValueError, TypeError, AttributeError) as error:
        return f"its fields cannot be read: {error}"
    return None


def _damaged(path: Path, problem: str) -> StoreError:
    return StoreError(
        f"{path} cannot be used: {problem}. Restore it from a backup, or remove the whole data "
        "directory and index again."
    )


def _write(root: Path, record: CollectionRecord) -> None:
    document = asdict(record)
    if record.indexed is None:
        del document["indexed"]
    replace_text(root / RECORD_FILE, json.dumps(document, indent=2) + "\n")


def _shards(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if SHARD_NAME.fullmatch(path.name))
