"""Options that several commands share, and the settings they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.exits import UsageError

if TYPE_CHECKING:
    from app.settings import Settings

BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        envvar="ISOGLOT_BUNDLE",
        help="Directory of the bundle.  [default: bundles/starter]",
        show_default=False,
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="ISOGLOT_DATA_DIR",
        help="Directory that keeps the passages.  [default: data]",
        show_default=False,
    ),
]
HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        envvar="ISOGLOT_HOST",
        help="Address to listen on; 0.0.0.0 opens it to the network.  [default: 127.0.0.1]",
        show_default=False,
    ),
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "--port",
        envvar="ISOGLOT_PORT",
        help="Port to listen on; 0 picks a free one.  [default: 8000]",
        show_default=False,
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Use the service that runs there, for example http://127.0.0.1:8000, instead of "
        "opening the data directory.",
        show_default=False,
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Index with the processes of a Ray cluster: its address, `auto` for the one that "
        "this machine belongs to, or `local` for one of this machine alone.",
        show_default=False,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes that encode, with --ray.  [default: one for every core]",
        show_default=False,
    ),
]
DemoDirOption = Annotated[
    Path | None,
    typer.Option(
        "--demo-dir",
        help="Directory of the demo corpus.  [default: demo/ of the repository]",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSON to stdout; messages go to stderr.")
]


def settings_from(**overrides: Path | str | int | None) -> Settings:
    """Read the settings; an option that was given wins over its environment variable.

    Raises:
        UsageError: A setting cannot be used.
    """
    from app.environment import InvalidSettingsError, load_settings

    try:
        return load_settings(**overrides)
    except InvalidSettingsError as error:
        raise UsageError(str(error)) from error


def refuse_with_url(context: typer.Context, url: str | None) -> None:
    """Refuse options on the command line that only make sense without ``--url``.

    Their environment variables may be set: they are not about this one command.

    Raises:
        UsageError: Names those that were given.
    """
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("bundle", "data_dir")
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    ]
    if url is not None and given:
        raise UsageError(
            "--url uses a running service, which has its own bundle and data; leave out "
            f"{' and '.join(given)}."
        )
