"""How far a backup is, shown to whoever looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from app.adapters.backups.stage import OnBytes
from app.cli import console


@contextmanager
def bar(what: str) -> Iterator[OnBytes]:
    """Show bytes; yields what is told how many are done, and how many there are."""
    with _shown(what, DownloadColumn()) as on_done:
        yield on_done


@contextmanager
def counter(what: str) -> Iterator[OnBytes]:
    """Show how many are done; otherwise as ``bar``."""
    with _shown(what, MofNCompleteColumn()) as on_done:
        yield on_done


@contextmanager
def _shown(what: str, done: ProgressColumn) -> Iterator[OnBytes]:
    screen = console.messages()
    columns = (TextColumn(what), BarColumn(), done, TimeRemainingColumn())
    with Progress(
        *columns, console=screen, transient=True, disable=not screen.is_terminal
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
