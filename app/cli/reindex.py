"""``isoglot reindex``: passages embedded anew, here or by a running service."""

from __future__ import annotations

import asyncio

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.bootstrap import open_reindexing
from app.cli import console
from app.cli.exits import CannotStartError, Exit, complain
from app.cli.remote import RemoteService
from app.core.reindexing.progress import Progress as Copying
from app.settings import Settings

_POLL_SECONDS = 0.5


def run_reindex(settings: Settings, *, url: str | None) -> None:
    """Embed all passages with the encoder of ``settings.bundle``, and serve the result.

    Args:
        settings: Names the bundle that is to be served from now on.
        url: Base address of a running service that is to do it.

    Raises:
        IsoglotError: It cannot be done, or failed; the collection from before is served.
        CannotStartError: The service cannot be reached, refuses, or failed.
    """
    try:
        asyncio.run(_remotely(settings, url) if url else _here(settings))
    except KeyboardInterrupt:
        complain(
            "Stopped. The collection from before is served. What is copied stays: run the same "
            "command again to go on."
        )
        raise typer.Exit(Exit.INTERRUPTED) from None


async def _here(settings: Settings) -> None:
    with _bar() as bar:
        task = bar.add_task("copying", total=None, embedded=0)

        def show(copying: Copying) -> None:
            bar.update(
                task,
                description=copying.phase,
                total=copying.passages,
                completed=copying.compared,
                embedded=copying.embedded,
            )

        done = await open_reindexing(settings, show)
    if done is None:
        complain("Nothing to do: the passages are indexed with the encoder of this bundle already.")
        return
    complain(
        f"{done.passages} passages are indexed with the new encoder ({done.embedded} embedded, "
        f"{done.removed} removed), and served from the next start on. Set ISOGLOT_BUNDLE="
        f"{settings.bundle.resolve()}. To go back, run `isoglot reindex --bundle` with the bundle "
        "from before."
    )


async def _remotely(settings: Settings, url: str) -> None:
    directory = settings.bundle.resolve()
    async with RemoteService(url, key=settings.api_key) as service:
        job = await service.start_reindexing(directory)
        try:
            with _bar() as bar:
                task = bar.add_task(job.phase, total=None, embedded=0)
                while job.state == "running":
                    bar.update(
                        task,
                        description=job.phase,
                        total=job.passages,
                        completed=job.compared,
                        embedded=job.embedded,
                    )
                    await asyncio.sleep(_POLL_SECONDS)
                    job = await service.reindexing()
        except asyncio.CancelledError:
            await service.cancel_reindexing()
            raise
    if job.state != "done":
        raise CannotStartError(f"The service did not reindex ({job.state}). {job.error or ''}")
    complain(
        f"{url} serves {job.bundle} now: {job.passages} passages, {job.embedded} embedded anew, "
        f"{job.removed} removed. Set ISOGLOT_BUNDLE={directory} for its next start. "
        "To go back, run `isoglot reindex --url` with the bundle from before."
    )


def _bar() -> Progress:
    screen = console.messages()
    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[embedded]} embedded"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
