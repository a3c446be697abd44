"""How far a backup is, shown to whoever looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from app.adapters.backups.stage import OnBytes
from app.cli import console


@contextmanager
def bar(what: str) -> Iterator[OnBytes]:
    """Show bytes; yields what is told how many are done, and how many there are."""
    screen = console.messages()
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=screen, transient=True, disable=not screen.is_terminal
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
