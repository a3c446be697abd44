"""What the command ``isoglot restore`` does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import typer

from app.adapters.backups.archive import read_manifest
from app.adapters.backups.manifest import BackupManifest
from app.adapters.backups.restoring import put_in_place, unpack
from app.bootstrap import bundle_for
from app.cli.backups.checks import differences, refuse_server
from app.cli.backups.progress import bar
from app.cli.exits import Exit, complain
from app.core.bundle import load_bundle
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
        CannotStartError: Passages are on a Qdrant server.
        IsoglotError: There is no room, or the collection cannot be opened.
        Exit: A known query was answered otherwise (1).
    """
    refuse_server(settings)
    manifest = read_manifest(file)
    _check_fit(manifest, settings)
    reserve = settings.disk_reserve_mib << 20
    with bar("restoring") as on_bytes:
        unpack(file, settings.data_dir, reserve=reserve, on_bytes=on_bytes)
    put_in_place(settings.data_dir, settings.key_file)
    complain(f"{settings.data_dir}: {manifest.passages} passages from {manifest.created}.")
    if not verify:
        return
    if differing := asyncio.run(differences(settings, manifest)):
        complain("\n".join(differing))
        raise typer.Exit(Exit.REJECTED)
    complain(f"{len(manifest.checks)} known queries are answered as they were.")


def _check_fit(manifest: BackupManifest, settings: Settings) -> None:
    """Check that a service with these settings would serve what is in the archive."""
    if manifest.collection != settings.collection:
        raise BackupError(
            f"The backup is of collection {manifest.collection!r}, not {settings.collection!r}. "
            f"Set ISOGLOT_COLLECTION={manifest.collection}."
        )
    given = load_bundle(settings.bundle)
    found = bundle_for(manifest.encoder, given, switched_to=manifest.switched_to)
    if found.manifest.id != manifest.bundle:
        raise BackupError(
            f"The backup belongs to bundle {manifest.bundle_name} ({manifest.bundle[:12]}), but "
            f"{found.directory} is {found.manifest.name} ({found.manifest.id[:12]}), with which "
            "scores and probabilities would not be the same. Name the right one with --bundle."
        )
