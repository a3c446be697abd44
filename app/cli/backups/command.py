"""The commands ``isoglot backup`` and ``isoglot restore``: options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.exits import friendly_errors
from app.cli.options import BundleOption, DataDirOption, settings_from


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive; must not exist.")],
    queries: Annotated[
        int, typer.Option(min=0, max=1000, help="Known queries to keep, taken from passages.")
    ] = 20,
    bundle: BundleOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write a deployment into one archive: passages, feedback, calibrators, keys.

    Passages with their vectors, of the data directory (while no service runs) or of a Qdrant
    server; feedback and its key, of a file or of PostgreSQL; calibrators, API keys (hashed) and
    which bundle they belong to; the bundle itself is kept where it came from. Who reads the
    archive reads all passages: it is readable by its owner alone.
    """
    with friendly_errors():
        settings = settings_from(bundle=bundle, data_dir=data_dir)

        from app.cli.backups.backup import run_backup

        run_backup(file, settings, queries=queries)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="From `isoglot backup`.")],
    verify: Annotated[  # noqa: FBT002  the signature typer calls
        bool,
        typer.Option(help="Ask the known queries, and compare hits, scores and probabilities."),
    ] = True,
    bundle: BundleOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Unpack an archive into an empty data directory, and check that it answers as it did.

    Passages go to the Qdrant server, and feedback to PostgreSQL, where the settings name one,
    wherever they came from. Nothing is put in place unless every file is what it was. The key
    file is written where ISOGLOT_KEY_FILE says, unless there is one. Exit code 1: it is restored,
    but a known query was answered otherwise.
    """
    with friendly_errors():
        settings = settings_from(bundle=bundle, data_dir=data_dir)

        from app.cli.backups.restore import run_restore

        run_restore(file, settings, verify=verify)
