"""API keys in a file: read, watched, and rewritten as a whole."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from app.adapters.whole_files import sync
from app.core.access.keys import KeyDocument, KeyRing, dump_keys, parse_keys
from app.core.errors import KeyFileError

LOOK_SECONDS = 1.0
"""How long a changed file may go unnoticed."""

_NEW_FILE_MODE = 0o600
_log = structlog.stdlib.get_logger(__name__)

_Signature = tuple[int, int, int]


class KeyFile:
    """The keys of a file; a change is noticed without a restart.

    A change that cannot be used is logged once, and the keys from before go on: an operator's
    slip must neither lock everybody out nor let anybody in.

    Args:
        path: The file.
        clock: Seconds that do not go back.

    Raises:
        KeyFileError: It cannot be read, or is no key file.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._signature = _signature(path)
        self._ring = KeyRing(read_keys(path).keys)
        self._looked = clock()

    def ring(self) -> KeyRing:
        """Return the keys; looks at the file at most once in ``LOOK_SECONDS``."""
        now = self._clock()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._refresh()
        return self._ring

    def _refresh(self) -> None:
        # Taken before the content: a write in between is then seen at the next look.
        signature = _signature(self._path)
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._ring = KeyRing(read_keys(self._path).keys)
        except KeyFileError as error:
            _log.error("key_file_not_usable", reason=str(error), keys_kept=len(self._ring))
        else:
            _log.info("keys_loaded", keys=len(self._ring))


def read_keys(path: Path) -> KeyDocument:
    """Return what a key file says.

    Raises:
        KeyFileError: It cannot be read, or is no key file.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise KeyFileError(
            f"The key file {path} cannot be read: {error.strerror}. `isoglot keys create` makes "
            "one."
        ) from error
    try:
        return parse_keys(raw)
    except KeyFileError as error:
        raise KeyFileError(f"The key file {path} cannot be used: {error}.") from None


def change_keys(path: Path, change: Callable[[KeyDocument], KeyDocument]) -> KeyDocument:
    """Rewrite a key file, whole or not at all; returns what it says now.

    Args:
        path: The file; where there is none, ``change`` gets a document without keys.
        change: Returns the new document; what it raises leaves the file as it was.

    Raises:
        KeyFileError: It cannot be read or written, or is no key file.
    """
    with _locked(path):
        exists = path.exists()
        changed = change(read_keys(path) if exists else KeyDocument())
        mode = path.stat().st_mode & 0o777 if exists else _NEW_FILE_MODE
        _replace(path, dump_keys(changed), mode)
    return changed


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other commands that change a file of this directory waiting."""
    try:
        directory = os.open(path.absolute().parent, os.O_RDONLY)
    except OSError as error:
        raise KeyFileError(
            f"The directory of the key file {path} cannot be opened: {error.strerror}."
        ) from error
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _replace(path: Path, text: str, mode: int) -> None:
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        sync(path.absolute().parent)
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be written: {error.strerror}.") from error


def _signature(path: Path) -> _Signature | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
