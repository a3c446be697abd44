"""Passages in JSON Lines: one object a line, plain or gzip, or from stdin."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from app.api.convert import to_entry
from app.api.schemas.common import PassageIn
from app.api.strict_json import MalformedJsonError, parse_json
from app.cli.exits import CannotStartError
from app.core.errors import InvalidInputError
from app.core.passages.entries import Document, Entry, checked

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line that was not stored.

    Attributes:
        file: Name of its file.
        line: Its number, from 1.
        reason: What is wrong with it.
    """

    file: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class PassageLine:
    """A line that holds a valid passage.

    Attributes:
        file: Name of its file.
        line: Its number, from 1.
        entry: The passage, or the document that is to be split.
        read: Bytes of the file that were read so far, as they lie on the disk.
    """

    file: str
    line: int
    entry: Entry
    read: int


def read_passages(name: str) -> Iterator[PassageLine | Rejection]:
    """Yield every line of a file: its passage, or why it is none. Blank lines are skipped.

    Args:
        name: Path of a file, gzip where it ends in ``.gz``, or ``-`` for stdin.

    Raises:
        CannotStartError: The file cannot be read, or ends in the middle of its gzip stream.
    """
    try:
        with _opened(name) as (raw, lines):
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield read_line(name, number, line, read=raw.tell() if raw else 0)
    except (OSError, EOFError, zlib.error) as error:
        raise CannotStartError(f"{name} cannot be read: {error}") from error


def parse_entry(line: bytes) -> Entry:
    """Return the passage, or the document to be split, that one line holds.

    Raises:
        MalformedJsonError: The line is not JSON.
        ValidationError: It is JSON, but not a passage.
        InvalidInputError: A member of the passage is out of range.
    """
    entry = to_entry(PassageIn.model_validate(parse_json(line)))
    return entry if isinstance(entry, Document) else checked(entry)


def read_line(name: str, number: int, line: bytes, *, read: int = 0) -> PassageLine | Rejection:
    """Return what one line holds: its passage, or why it is none.

    Args:
        name: Name of its file.
        number: Its number, from 1.
        line: Its bytes.
        read: Bytes of the file that were read so far.
    """
    try:
        entry = parse_entry(line)
    except ValidationError as error:
        return Rejection(name, number, _problems(error))
    except (MalformedJsonError, InvalidInputError) as error:
        return Rejection(name, number, str(error))
    return PassageLine(name, number, entry, read=read)


def file_size(name: str) -> int | None:
    """Return the size of a file in bytes; ``None`` for stdin and what cannot be looked at."""
    try:
        return None if name == STDIN else Path(name).stat().st_size
    except OSError:
        return None


@contextmanager
def _opened(name: str) -> Iterator[tuple[IO[bytes] | None, Iterable[bytes]]]:
    """Open a file; yields the file on the disk, whose position is progress, and its lines."""
    if name == STDIN:
        yield None, sys.stdin.buffer
        return
    with Path(name).open("rb") as raw:
        if name.endswith(".gz"):
            with gzip.open(raw) as unpacked:
                yield raw, unpacked
        else:
            yield raw, raw


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'/'.join(map(str, item['loc'])) or 'line'}: {item['msg']}" for item in error.errors()
    )
