"""What the command ``isoglot restore`` does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import typer

from app.adapters.backups.archive import read_manifest
from app.adapters.backups.manifest import BackupManifest
from app.adapters.backups.restoring import is_unpacked, put_in_place, unpack
from app.adapters.backups.stage import DATA, LOG_FILES, collections_in
from app.cli.backups.checks import differences
from app.cli.backups.moving import (
    copy_feedback,
    fitting_bundle,
    log_of,
    refuse_served,
    send_passages,
    within,
)
from app.cli.backups.progress import bar, counter
from app.cli.exits import Exit, complain
from app.core.errors import BackupError
from app.settings import Settings


def run_restore(file: Path, settings: Settings, *, verify: bool) -> None:
    """Unpack an archive into an empty data directory, and ask its known queries.

    Args:
        file: The archive.
        settings: Where to, and with which bundle.
        verify: Whether to ask.

    Raises:
        BackupError: It is damaged or does not fit, or the directory is not empty.
        IsoglotError: There is no room, or the collection cannot be opened.
        Exit: A known query was answered otherwise (1).
    """
    manifest = read_manifest(file)
    _check_fit(manifest, settings)
    if settings.qdrant_url is not None and not is_unpacked(settings.data_dir):
        asyncio.run(refuse_served(settings))
    reserve = settings.disk_reserve_mib << 20
    with bar("restoring") as on_bytes:
        place = unpack(file, settings.data_dir, reserve=reserve, on_bytes=on_bytes)
    leave = _send(settings, place / DATA, manifest)
    put_in_place(settings.data_dir, settings.key_file, leave=leave)
    complain(f"{settings.data_dir}: {manifest.passages} passages from {manifest.created}.")
    if not verify:
        return
    if differing := asyncio.run(differences(settings, manifest)):
        complain("\n".join(differing))
        raise typer.Exit(Exit.REJECTED)
    complain(f"{len(manifest.checks)} known queries are answered as they were.")


def _send(settings: Settings, unpacked: Path, manifest: BackupManifest) -> set[str]:
    """Send what does not belong into the data directory to where it does; returns its names."""
    sent = set[str]()
    # Not the data directory itself: nothing but this command opens it now.
    there, here = settings.model_copy(update={"data_dir": unpacked}), within(settings, unpacked)
    if settings.qdrant_url is not None:
        with counter("sending passages") as on_passages:
            asyncio.run(send_passages(there, here, manifest, on_passages))
        sent |= collections_in(unpacked)
    if settings.feedback_log is not None:
        asyncio.run(copy_feedback(log_of(here), log_of(there)))
        sent |= LOG_FILES
    return sent


def _check_fit(manifest: BackupManifest, settings: Settings) -> None:
    """Check that a service with these settings would serve what is in the archive."""
    if manifest.collection != settings.collection:
        raise BackupError(
            f"The backup is of collection {manifest.collection!r}, not {settings.collection!r}. "
            f"Set ISOGLOT_COLLECTION={manifest.collection}."
        )
    found = fitting_bundle(settings, manifest)
    if found.manifest.id != manifest.bundle:
        raise BackupError(
            f"The backup belongs to bundle {manifest.bundle_name} ({manifest.bundle[:12]}), but "
            f"{found.directory} is {found.manifest.name} ({found.manifest.id[:12]}), with which "
            "scores and probabilities would not be the same. Name the right one with --bundle."
        )
