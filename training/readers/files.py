"""Reads lines, columns and JSON from files, and says where a file is broken.

Nothing is held but the line at hand, so that a corpus may be larger than memory. What a line
means is the business of the readers; this module knows encodings, compression and syntax.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from training.errors import DataError

JsonObject: TypeAlias = dict[str, object]

_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was read, for errors that say where.

    Attributes:
        path: The file.
        line: Line from 1; ``None`` in files that are not read by lines.
        inside: Where in such a file, for example ``data[0].paragraphs[2]`` or ``row 17``.
    """

    path: Path
    line: int | None = None
    inside: str = ""

    def error(self, problem: str) -> DataError:
        """Return the error that names this place."""
        what = f"{self.inside}: {problem}" if self.inside else problem
        return DataError(self.path, self.line, what)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Yield (line number from 1, line without its end) of a text file, gzip where it ends so.

    Raises:
        DataError: The file is missing, cut off in the middle, damaged, or not UTF-8.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                yield number, _decode(path, number, raw)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        where = f" after line {number}" if number else ""
        raise DataError(path, None, f"cannot be read{where}: {reason}") from error


def _decode(path: Path, number: int, raw: bytes) -> str:
    try:
        line = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        problem = f"is not UTF-8 (byte 0x{byte:02x} at position {error.start}); convert the file"
        raise DataError(path, number, problem) from error
    return line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line


def read_json_lines(path: Path) -> Iterator[tuple[int, JsonObject]]:
    """Yield (line number from 1, object) of a JSON lines file; blank lines are skipped.

    Raises:
        DataError: The file cannot be read, or a line is not one JSON object.
    """
    for number, line in read_lines(path):
        if line.strip():
            yield number, _object(Place(path, number), line)


def _object(place: Place, text: str) -> JsonObject:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise place.error(f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise place.error(f"is a JSON {type(value).__name__}, not an object")
    return value


def read_json_document(path: Path) -> JsonObject:
    """Return the one JSON object that a file holds.

    Raises:
        DataError: As ``read_json_lines``; where the JSON is broken, the line is named.
    """
    text = "\n".join(line for _, line in read_lines(path))
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        problem = f"is not JSON: {error.msg} at column {error.colno}"
        raise DataError(path, error.lineno, problem) from error
    except RecursionError as error:
        raise DataError(path, None, "is JSON nested too deeply") from error
    if not isinstance(value, dict):
        raise DataError(path, None, f"is a JSON {type(value).__name__}, not an object")
    return value


def read_columns(
    path: Path, names: Sequence[str], *, separator: str | None = "\t", header: bool = False
) -> Iterator[tuple[Place, list[str]]]:
    """Yield (place, fields) of a file with one record a line; blank lines are skipped.

    Args:
        path: The file.
        names: What the columns hold, for the error; as many as a line must have.
        separator: What stands between columns; any white space where it is ``None``.
        header: Leave out the first line.

    Raises:
        DataError: The file cannot be read, or a line has another number of columns.
    """
    by = "white space" if separator is None else "tabs" if separator == "\t" else repr(separator)
    for number, line in read_lines(path):
        if (header and number == 1) or not line.strip():
            continue
        fields = line.split(separator)
        if len(fields) != len(names):
            problem = f"expected {len(names)} columns by {by}: {', '.join(names)}"
            raise DataError(path, number, f"{problem}; found {len(fields)}")
        yield Place(path, number), fields
