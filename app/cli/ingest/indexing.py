"""Indexing files: good lines are stored, bad ones reported by number and reason."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from app.cli.ingest.passages_file import PassageLine, Rejection, read_passages
from app.core.passages.entries import Rejected
from app.core.passages.ingest import IngestService

BATCH_LINES = 256
"""Lines that are handed on together: one line of answer to a remote service, one write here."""

T = TypeVar("T")


class Sink(Protocol):
    """Where passages go."""

    async def store(self, lines: Sequence[PassageLine]) -> list[Rejection]:
        """Store passages; returns those that were not stored."""
        ...


@dataclass(slots=True)
class IndexReport:
    """What became of the lines so far.

    Attributes:
        stored: Lines whose passage is stored.
        rejected: Lines that were not.
    """

    stored: int = 0
    rejected: int = 0


class LocalSink:
    """Stores passages in the collection that this process has open.

    They survive the end of the process at once, and loss of power when the collection is closed.
    """

    def __init__(self, ingest: IngestService) -> None:
        self._ingest = ingest

    async def store(self, lines: Sequence[PassageLine]) -> list[Rejection]:
        """Store passages; where one of them cannot be stored, the others are."""
        outcomes = await self._ingest.add_each([line.entry for line in lines], durable=False)
        return [
            Rejection(line.file, line.line, str(outcome.error))
            for line, outcome in zip(lines, outcomes, strict=True)
            if isinstance(outcome, Rejected)
        ]


async def index_files(
    files: Iterable[str],
    sink: Sink,
    report: IndexReport,
    *,
    on_rejection: Callable[[Rejection], None],
    on_read: Callable[[str, int], None],
) -> None:
    """Store every good line of the files.

    Args:
        files: Paths, or ``-`` for stdin.
        sink: Where passages go.
        report: Kept up to date, so that it is right after an interruption too.
        on_rejection: Called for every line that is not stored.
        on_read: Called with a file's name and the bytes of it that are done.
    """
    for name in files:
        await index_lines(
            _interruptibly(read_passages(name)),
            sink,
            report,
            on_rejection=on_rejection,
            on_read=partial(on_read, name),
        )


async def index_lines(
    entries: Iterator[PassageLine | Rejection],
    sink: Sink,
    report: IndexReport,
    *,
    on_rejection: Callable[[Rejection], None],
    on_read: Callable[[int], None] = lambda _: None,
) -> None:
    """Store every good line.

    Args:
        entries: The lines.
        sink: Where passages go.
        report: Kept up to date, so that it is right after an interruption too.
        on_rejection: Called for every line that is not stored.
        on_read: Called with the bytes of the file that are done.
    """

    def reject(rejections: Iterable[Rejection]) -> None:
        for rejection in rejections:
            report.rejected += 1
            on_rejection(rejection)

    for batch in _chunks(entries, BATCH_LINES):
        lines = [entry for entry in batch if isinstance(entry, PassageLine)]
        reject(entry for entry in batch if isinstance(entry, Rejection))
        if not lines:
            continue
        refused = await sink.store(lines)
        report.stored += len(lines) - len(refused)
        reject(refused)
        on_read(lines[-1].read)


def _interruptibly(entries: Iterator[T]) -> Iterator[T]:
    """Yield the entries; Ctrl-C ends the wait for the next one.

    The event loop only notes the signal, and would not come to look at the note while a read
    from stdin waits for more.
    """
    while True:
        previous = signal.getsignal(signal.SIGINT)
        if callable(previous):
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            entry = next(entries, None)
        finally:
            signal.signal(signal.SIGINT, previous)
        if entry is None:
            return
        yield entry


def _chunks(entries: Iterator[T], size: int) -> Iterator[list[T]]:
    chunk: list[T] = []
    for entry in entries:
        chunk.append(entry)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
