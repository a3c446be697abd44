"""What the commands ``isoglot backup`` and ``isoglot restore`` do."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from app.adapters.backup_archive import (
    BackupManifest,
    Check,
    KnownHit,
    OnBytes,
    read_manifest,
    refuse_existing,
    unpack_backup,
    write_backup,
)
from app.bootstrap import Runtime, open_runtime
from app.cli import console
from app.cli.exits import CannotStartError, Exit, complain
from app.core.bundle import load_bundle
from app.core.errors import BackupError, StoreLockedError
from app.core.search.types import SearchRequest
from app.settings import Settings

HITS = 10
TOLERANCE = 1e-5
"""How far a score or probability may be from what it was: the last digits of float32."""

_QUERY_CHARACTERS = 200


def run_backup(file: Path, settings: Settings, *, queries: int) -> None:
    """Write the data directory and the key file into one archive.

    Args:
        file: The archive.
        settings: What is kept.
        queries: How many known queries are kept with it.

    Raises:
        BackupError: There is nothing to keep, or ``file`` exists.
        CannotStartError: Passages are on a Qdrant server.
        IsoglotError: The collection cannot be opened, or the archive not be written.
    """
    _refuse_server(settings)
    refuse_existing(file)
    if not settings.collection_dir.is_dir():
        raise BackupError(f"{settings.data_dir} holds no collection {settings.collection!r}.")
    try:
        facts = asyncio.run(_facts(settings, queries))
        with _bar("backing up") as on_bytes:
            manifest = write_backup(file, settings.data_dir, settings.key_file, facts, on_bytes)
    except StoreLockedError as error:
        raise BackupError(f"A backup is made while no service runs. {error}") from error
    complain(
        f"{file}: {manifest.passages} passages in {len(manifest.files)} files, and "
        f"{len(manifest.checks)} known queries. It belongs to bundle {manifest.bundle_name} "
        f"({manifest.bundle[:12]}), which is not in it."
    )


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
    _refuse_server(settings)
    _check_fit(read_manifest(file), settings)
    reserve = settings.disk_reserve_mib << 20
    with _bar("restoring") as on_bytes:
        manifest = unpack_backup(
            file, settings.data_dir, settings.key_file, reserve=reserve, on_bytes=on_bytes
        )
    complain(f"{settings.data_dir}: {manifest.passages} passages from {manifest.created}.")
    if not verify:
        return
    if differing := asyncio.run(_differing(settings, manifest)):
        complain("\n".join(differing))
        raise typer.Exit(Exit.REJECTED)
    complain(f"{len(manifest.checks)} known queries are answered as they were.")


def _refuse_server(settings: Settings) -> None:
    if settings.qdrant_url is not None:
        raise CannotStartError(
            "ISOGLOT_QDRANT_URL is set: passages on a Qdrant server are backed up by its own "
            "snapshots. See the section on backup of docs/deploy.md."
        )


def _check_fit(manifest: BackupManifest, settings: Settings) -> None:
    if manifest.collection != settings.collection:
        raise BackupError(
            f"The backup is of collection {manifest.collection!r}, not {settings.collection!r}. "
            f"Set ISOGLOT_COLLECTION={manifest.collection}."
        )
    found = load_bundle(settings.bundle).manifest
    if found.id != manifest.bundle:
        raise BackupError(
            f"The backup belongs to bundle {manifest.bundle_name} ({manifest.bundle[:12]}), but "
            f"{settings.bundle} is {found.name} ({found.id[:12]}), with which scores and "
            "probabilities would not be the same. Name the right one with --bundle."
        )


async def _facts(settings: Settings, queries: int) -> BackupManifest:
    async with open_runtime(settings) as runtime:
        health = await runtime.store.health()
        chosen = await runtime.store.scan(limit=queries) if queries else []
        texts = [passage.text[:_QUERY_CHARACTERS] for passage in chosen]
        return BackupManifest(
            isoglot=version("isoglot"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            collection=runtime.collection,
            bundle=runtime.bundle.manifest.id,
            bundle_name=runtime.bundle.manifest.name,
            passages=health.passages,
            checks=tuple([await _ask(runtime, text) for text in texts]),
        )


async def _ask(runtime: Runtime, query: str) -> Check:
    found = await runtime.search.search(SearchRequest(query, limit=HITS))
    return Check(
        query=query,
        hits=tuple(
            KnownHit(id=hit.passage.id, score=hit.score, probability=hit.probability)
            for hit in found.hits
        ),
    )


async def _differing(settings: Settings, manifest: BackupManifest) -> list[str]:
    """Return a line for every known query that is answered otherwise now."""
    lines = []
    async with open_runtime(settings) as runtime:
        for check in manifest.checks:
            now = await _ask(runtime, check.query)
            if not _is_same(check, now):
                lines.append(
                    f"Answered otherwise: {check.query!r}: {check.hits} then, {now.hits} now."
                )
        count = (await runtime.store.health()).passages
    if count != manifest.passages:
        lines.append(f"There are {count} passages, and there were {manifest.passages}.")
    return lines


def _is_same(before: Check, after: Check) -> bool:
    return len(before.hits) == len(after.hits) and all(
        one.id == other.id
        and math.isclose(one.score, other.score, abs_tol=TOLERANCE)
        and (one.probability is None) == (other.probability is None)
        and math.isclose(one.probability or 0, other.probability or 0, abs_tol=TOLERANCE)
        for one, other in zip(before.hits, after.hits, strict=True)
    )


@contextmanager
def _bar(what: str) -> Iterator[OnBytes]:
    screen = console.messages()
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=screen, transient=True, disable=not screen.is_terminal
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
