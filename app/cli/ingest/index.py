"""``isoglot index``: files into the data directory, or to a running service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.bootstrap import open_runtime
from app.cli import console
from app.cli.exits import Exit, UsageError, complain
from app.cli.ingest.indexing import IndexReport, LocalSink, Sink, index_files
from app.cli.ingest.passages_file import STDIN, Rejection, file_size
from app.cli.remote import RemoteService
from app.settings import Settings


def run_index(files: Sequence[str], *, settings: Settings, url: str | None) -> None:
    """Index files and exit with 0, or 1 where a line was rejected.

    Args:
        files: Paths, or ``-`` for stdin.
        settings: Names bundle and data directory, unless ``url`` is given.
        url: Base address of a running service.

    Raises:
        UsageError: A file does not exist.
        IsoglotError: The collection cannot be opened, or failed.
        CannotStartError: The service cannot be reached, or a file cannot be read.
    """
    for name in files:
        if name != STDIN and not Path(name).is_file():
            raise UsageError(f"{name} is not a file. Give JSON Lines files, or - for stdin.")
    report = IndexReport()
    try:
        asyncio.run(_index(files, settings=settings, url=url, report=report))
    except KeyboardInterrupt:
        complain(
            f"Stopped. {report.stored} passages are stored and stay. Run the same command again "
            "to go on: passages that are there already are replaced, not doubled."
        )
        raise typer.Exit(Exit.INTERRUPTED) from None
    finally:
        if report.rejected:
            complain(f"{report.rejected} lines were rejected.")
    complain(f"{report.stored} passages stored{f' at {url}' if url else ''}.")
    raise typer.Exit(Exit.REJECTED if report.rejected else Exit.OK)


async def _index(
    files: Sequence[str], *, settings: Settings, url: str | None, report: IndexReport
) -> None:
    screen = console.messages()
    async with _sink(settings, url) as sink:
        with progress_bar(screen) as progress:
            task = progress.add_task("Indexing", total=_total_bytes(files), stored=0)
            done: dict[str, int] = {}

            def on_read(name: str, read: int) -> None:
                done[name] = read
                progress.update(task, completed=sum(done.values()), stored=report.stored)

            def on_rejection(rejection: Rejection) -> None:
                where = f"{rejection.file}:{rejection.line}"
                screen.print(f"{where}: {rejection.reason}", markup=False, soft_wrap=True)

            await index_files(files, sink, report, on_rejection=on_rejection, on_read=on_read)


@asynccontextmanager
async def _sink(settings: Settings, url: str | None) -> AsyncIterator[Sink]:
    if url is not None:
        async with RemoteService(url, key=settings.api_key) as service:
            yield service
    else:
        async with open_runtime(settings) as runtime:
            yield LocalSink(runtime.ingest)


def _total_bytes(files: Sequence[str]) -> int | None:
    sizes = [file_size(name) for name in files]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def progress_bar(screen: Console) -> Progress:
    """Return a bar over bytes, with the number of stored passages; hidden where nobody looks."""
    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[stored]} stored"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
