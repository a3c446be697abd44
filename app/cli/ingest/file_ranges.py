"""Files cut into ranges of whole lines, which several processes can read at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.cli.exits import CannotStartError
from app.cli.ingest.passages_file import PassageLine, Rejection, read_line, read_passages

LINES_A_RANGE = 2048
"""Lines of one range: enough to be worth handing out, few enough to do again after a crash."""


@dataclass(frozen=True, slots=True)
class FileRange:
    """Consecutive lines of a file.

    Attributes:
        file: Its path, the same on every machine.
        first_line: Number of the first line, from 1.
        offset: Byte at which it begins.
        length: Bytes; 0 for the whole of a gzip file, which has to be read from its beginning.
    """

    file: str
    first_line: int
    offset: int
    length: int


def cut(files: Sequence[str], *, lines: int = LINES_A_RANGE) -> list[FileRange]:
    """Cut files into ranges.

    Args:
        files: Paths.
        lines: Lines of one range at most.

    Raises:
        CannotStartError: A file cannot be read.
    """
    ranges: list[FileRange] = []
    for name in files:
        if name.endswith(".gz"):
            ranges.append(FileRange(name, 1, 0, 0))
            continue
        try:
            ranges += _cut(name, lines)
        except OSError as error:
            raise CannotStartError(f"{name} cannot be read: {error}") from error
    return ranges


def read_range(part: FileRange) -> Iterator[PassageLine | Rejection]:
    """Yield what the lines of a range hold, as ``read_passages`` does.

    Raises:
        CannotStartError: The file cannot be read, or has become shorter.
    """
    if part.length == 0:
        yield from read_passages(part.file)
        return
    try:
        with Path(part.file).open("rb") as raw:
            raw.seek(part.offset)
            content = raw.read(part.length)
    except OSError as error:
        raise CannotStartError(f"{part.file} cannot be read: {error}") from error
    if len(content) < part.length:
        raise CannotStartError(f"{part.file} has become shorter while it was indexed.")
    # Only "\n" ends a line: splitlines would see more ends than the reader of whole files.
    for number, line in enumerate(content.split(b"\n"), part.first_line):
        if line.strip():
            yield read_line(part.file, number, line)


def _cut(name: str, lines: int) -> Iterator[FileRange]:
    first = offset = end = count = 0
    with Path(name).open("rb") as raw:
        for count, line in enumerate(raw, start=1):
            end += len(line)
            if count - first == lines:
                yield FileRange(name, first + 1, offset, end - offset)
                first, offset = count, end
    if end > offset:
        yield FileRange(name, first + 1, offset, end - offset)
