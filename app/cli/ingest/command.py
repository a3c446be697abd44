"""The command ``isoglot index``: its options and help."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.exits import UsageError, friendly_errors
from app.cli.options import (
    BundleOption,
    DataDirOption,
    RayOption,
    UrlOption,
    WorkersOption,
    refuse_with_url,
    settings_from,
)

FilesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="JSON Lines of {id, text, language?, parallel_id?, metadata?}, also .gz; - for stdin.",
        show_default=False,
    ),
]


def index(  # noqa: PLR0913  one argument an option
    context: typer.Context,
    files: FilesArgument,
    bundle: BundleOption = None,
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    ray: RayOption = None,
    workers: WorkersOption = None,
) -> None:
    """Store passages from files. Passages with a known id are replaced.

    Good lines are stored; bad lines are reported by number and reason, and the exit code is 1.
    After an interruption the same command goes on where it was. With --ray the processes of a
    cluster encode; files, bundle and settings must be the same on all its machines.
    """
    with friendly_errors():
        refuse_with_url(context, url)
        if url is not None and ray is not None:
            raise UsageError("--url uses a running service, --ray a cluster: choose one.")
        if workers is not None and ray is None:
            raise UsageError("--workers is for --ray.")
        settings = settings_from(bundle=bundle, data_dir=data_dir)
        if ray is not None:
            from app.cli.ingest.ray_index import run_ray_index

            run_ray_index(files, settings=settings, address=ray, workers=workers)

        from app.cli.ingest.index import run_index

        run_index(files, settings=settings, url=url)
