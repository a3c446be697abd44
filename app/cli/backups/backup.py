"""What the command ``isoglot backup`` does."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.adapters.backups.archive import refuse_existing, write_archive
from app.adapters.backups.stage import DATA, copy_deployment, stage_in
from app.adapters.disk_room import tree_bytes
from app.bootstrap import open_shelf
from app.cli.backups.checks import facts_of, refuse_server
from app.cli.backups.progress import bar
from app.cli.exits import complain
from app.core.errors import BackupError, StoreLockedError
from app.settings import Settings


def run_backup(file: Path, settings: Settings, *, queries: int) -> None:
    """Copy a deployment at rest, ask the copy its known queries, and archive it.

    Args:
        file: The archive.
        settings: What is kept.
        queries: How many known queries are kept with it.

    Raises:
        BackupError: There is nothing to keep, or ``file`` exists.
        StorageFullError: There is no room for the copy.
        CannotStartError: Passages are on a Qdrant server.
        IsoglotError: The collection cannot be opened, or the archive not be written.
    """
    refuse_server(settings)
    refuse_existing(file)
    data_dir = settings.data_dir
    open_shelf(settings)  # refuses what is half restored
    if not settings.collection_dir.is_dir():
        raise BackupError(f"{data_dir} holds no collection {settings.collection!r}.")
    reserve = settings.disk_reserve_mib << 20
    with stage_in(data_dir, wanted=tree_bytes(data_dir), reserve=reserve) as stage:
        try:
            with bar("copying") as on_bytes:
                copy_deployment(data_dir, settings.key_file, stage, on_bytes)
        except StoreLockedError as error:
            raise BackupError(f"A backup is made while no service runs. {error}") from error
        copied = settings.model_copy(update={"data_dir": stage / DATA})
        facts = asyncio.run(facts_of(copied, queries))
        with bar("backing up") as on_bytes:
            manifest = write_archive(file, stage, facts, on_bytes)
    complain(
        f"{file}: {manifest.passages} passages in {len(manifest.files)} files, and "
        f"{len(manifest.checks)} known queries. It belongs to bundle {manifest.bundle_name} "
        f"({manifest.bundle[:12]}), which is not in it."
    )
