"""What of a deployment is not in its data directory, moved to a copy and back.

A copy keeps everything in a data directory of its own: passages of a Qdrant server in an embedded
collection, feedback of PostgreSQL in SQLite. So an archive restores to either.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from app.adapters.backups.manifest import BackupManifest
from app.adapters.feedback.sql import feedback_log
from app.bootstrap import bundle_for, open_shelf, served_bundle, spec_of
from app.core.bundle import Bundle, load_bundle
from app.core.errors import BackupError
from app.core.feedback.entries import FeedbackLog
from app.core.ports import KeptStore, Shelf
from app.core.types import CollectionSpec, Served
from app.settings import Settings

PAGE = 256

OnPassages = Callable[[int, int], None]
"""Is told how many passages are moved, and how many there are."""


def within(settings: Settings, data_dir: Path) -> Settings:
    """Return the settings of a deployment that keeps everything in one data directory."""
    return settings.model_copy(
        update={"data_dir": data_dir, "qdrant_url": None, "feedback_log": None}
    )


async def fetch_passages(settings: Settings, copy: Settings, on_passages: OnPassages) -> None:
    """Copy what is served on a Qdrant server, vectors included.

    Args:
        settings: Of the deployment.
        copy: From ``within``; it holds no passages yet.
        on_passages: Is told how far it is.

    Raises:
        BackupError: The server serves no collection of that name.
        StoreError: A store cannot be reached, or failed.
    """
    bundle = await served_bundle(settings)
    async with _shelf(settings) as there, _shelf(copy) as here:
        served = await there.served()
        if served is None:
            raise BackupError(f"The Qdrant server serves no collection {settings.collection!r}.")
        spec = spec_of(settings, bundle)
        await _move(there.store(served.collection), here.store(copy.collection), spec, on_passages)
        if served.bundle:
            await here.serve(Served(copy.collection, served.bundle))


async def refuse_served(settings: Settings) -> None:
    """Check that a Qdrant server serves no collection of the name yet.

    Raises:
        BackupError: It does.
        StoreError: The server cannot be reached.
    """
    async with _shelf(settings) as there:
        if served := await there.served():
            raise BackupError(
                f"The Qdrant server serves {served.collection!r} as {settings.collection!r} "
                "already, and nothing is overwritten. Drop that alias and its collection first."
            )


async def send_passages(
    settings: Settings, copy: Settings, manifest: BackupManifest, on_passages: OnPassages
) -> None:
    """Copy passages to a Qdrant server, and have it serve them; again does no harm.

    Args:
        settings: Of the deployment; the alias is set last.
        copy: From ``within``.
        manifest: What was archived.
        on_passages: Is told how far it is.

    Raises:
        BackupError: The collection there holds other passages, too.
        StoreError: A store cannot be reached, or failed.
    """
    bundle = await asyncio.to_thread(fitting_bundle, settings, manifest)
    async with _shelf(settings) as there, _shelf(copy) as here:
        name = await there.collection_for(manifest.encoder)
        served = await here.served() or Served(copy.collection)
        spec = spec_of(settings, bundle)
        found = await _move(here.store(served.collection), there.store(name), spec, on_passages)
        if found != manifest.passages:
            raise BackupError(
                f"The collection {name!r} on the Qdrant server holds {found} passages now, not "
                f"{manifest.passages}: it held others, or something writes to it. It is not "
                "served. Drop it, and restore again."
            )
        await there.serve(Served(name, manifest.switched_to))


async def copy_feedback(source: FeedbackLog, target: FeedbackLog) -> int:
    """Copy a log into another, in order; what is there already is left alone.

    Returns:
        How many entries were read.

    Raises:
        FeedbackLogError: A log cannot be read or written.
    """
    copied = after = 0
    await source.open()
    try:
        await target.open()
        while page := await source.read(after=after):
            after = page[-1][0]
            await target.append([entry for _, entry in page])
            copied += len(page)
    finally:
        await source.close()
        await target.close()
    return copied


def log_of(settings: Settings) -> FeedbackLog:
    """Return the feedback log that the settings name, not open yet.

    Raises:
        FeedbackLogError: The client of its database is not installed.
    """
    url = None if settings.feedback_log is None else settings.feedback_log.get_secret_value()
    return feedback_log(url, data_dir=settings.data_dir, collection=settings.collection)


def fitting_bundle(settings: Settings, manifest: BackupManifest) -> Bundle:
    """Return the bundle that a service with these settings serves an archive with.

    Raises:
        BundleError: It cannot be used.
    """
    given = load_bundle(settings.bundle)
    return bundle_for(manifest.encoder, given, switched_to=manifest.switched_to)


@asynccontextmanager
async def _shelf(settings: Settings) -> AsyncIterator[Shelf]:
    shelf = await asyncio.to_thread(open_shelf, settings)
    try:
        yield shelf
    finally:
        await shelf.close()


async def _move(
    source: KeptStore, target: KeptStore, spec: CollectionSpec, on_passages: OnPassages
) -> int:
    """Copy a collection into another; returns how many passages that holds then."""
    async with AsyncExitStack() as opened:
        for store in (source, target):
            await store.open(spec)
            opened.push_async_callback(store.close)
        total, done, after = await source.count(), 0, None
        while page := await source.scan(limit=PAGE, after=after):
            after = page[-1].id
            await target.upsert(
                await source.embedded([passage.id for passage in page]), durable=False
            )
            on_passages(done := done + len(page), total)
        await target.upsert([], durable=True)
        return await target.count()
