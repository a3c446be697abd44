"""What the command ``isoglot backup`` does."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.adapters.backups.archive import refuse_existing, write_archive
from app.adapters.backups.restoring import refuse_unfinished
from app.adapters.backups.stage import (
    DATA,
    LOG_FILES,
    collections_in,
    copy_deployment,
    stage_in,
)
from app.adapters.disk_room import tree_bytes
from app.cli.backups.checks import facts_of
from app.cli.backups.moving import copy_feedback, fetch_passages, log_of, within
from app.cli.backups.progress import bar, counter
from app.cli.exits import complain
from app.core.errors import BackupError, StoreLockedError
from app.settings import Settings


def run_backup(file: Path, settings: Settings, *, queries: int) -> None:
    """Copy a deployment, ask the copy its known queries, and archive it.

    Args:
        file: The archive.
        settings: What is kept.
        queries: How many known queries are kept with it.

    Raises:
        BackupError: There is nothing to keep, or ``file`` exists.
        StorageFullError: There is no room for the copy.
        IsoglotError: The collection cannot be opened, or the archive not be written.
    """
    refuse_existing(file)
    data_dir = settings.data_dir
    refuse_unfinished(data_dir)
    if settings.qdrant_url is None and not settings.collection_dir.is_dir():
        raise BackupError(f"{data_dir} holds no collection {settings.collection!r}.")
    reserve = settings.disk_reserve_mib << 20
    with stage_in(data_dir, wanted=tree_bytes(data_dir), reserve=reserve) as stage:
        copy = within(settings, stage / DATA)
        _copy(settings, copy, stage)
        facts = asyncio.run(facts_of(copy, queries))
        with bar("backing up") as on_bytes:
            manifest = write_archive(file, stage, facts, on_bytes)
    complain(
        f"{file}: {manifest.passages} passages in {len(manifest.files)} files, and "
        f"{len(manifest.checks)} known queries. It belongs to bundle {manifest.bundle_name} "
        f"({manifest.bundle[:12]}), which is not in it."
    )


def _copy(settings: Settings, copy: Settings, stage: Path) -> None:
    data_dir, leave = settings.data_dir, set[str]()
    if settings.qdrant_url is not None:
        leave |= collections_in(data_dir)
    if settings.feedback_log is not None:
        leave |= LOG_FILES
    try:
        with bar("copying") as on_bytes:
            copy_deployment(data_dir, settings.key_file, stage, on_bytes, leave=leave)
    except StoreLockedError as error:
        raise BackupError(f"A backup is made while no service runs. {error}") from error
    if settings.qdrant_url is not None:
        with counter("fetching passages") as on_passages:
            asyncio.run(fetch_passages(settings, copy, on_passages))
    if settings.feedback_log is not None:
        asyncio.run(copy_feedback(log_of(settings), log_of(copy)))
