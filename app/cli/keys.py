"""``isoglot keys``: make, list and revoke API keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.cli.exits import UsageError, complain, friendly_errors
from app.cli.options import JsonOption, settings_from

key_commands = typer.Typer(
    help="Make, list and revoke the API keys of a service.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


class ScopeName(StrEnum):
    """What a key may be allowed; the words of ``app.core.access.keys.Scope``."""

    search = "search"
    ingest = "ingest"
    feedback = "feedback"
    admin = "admin"
    metrics = "metrics"


KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        envvar="ISOGLOT_KEY_FILE",
        help="File with the keys; it is made if there is none.",
        show_default=False,
    ),
]


@key_commands.command()
def create(  # noqa: PLR0913  one argument an option
    scope: Annotated[list[ScopeName], typer.Option(help="What the key may do; may be repeated.")],
    key_file: KeyFileOption = None,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    tenant: Annotated[
        str | None,
        typer.Option(
            help="The only tenant whose passages it reads and writes.  [default: all passages]",
            show_default=False,
        ),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(
            min=1, help="Days until it expires.  [default: it does not]", show_default=False
        ),
    ] = None,
    requests_per_minute: Annotated[
        float | None,
        typer.Option(
            help="Requests it may make on average.  [default: ISOGLOT_RATE_LIMIT]",
            show_default=False,
        ),
    ] = None,
    burst: Annotated[
        int | None,
        typer.Option(
            help="Requests it may make at once.  [default: those of a minute]", show_default=False
        ),
    ] = None,
) -> None:
    """Make a key, and print it: this once, because the file keeps only its hash.

    A running service accepts it within a second.
    """
    with friendly_errors():
        from app.adapters.key_file import change_keys
        from app.core.access.keys import KeyDocument, make_key

        path = _path(key_file)
        now = datetime.now(UTC).replace(microsecond=0)
        key, token = make_key(
            {
                "scopes": sorted({chosen.value for chosen in scope}),
                "name": name,
                "tenant": tenant,
                "created": now,
                "expires": None if days is None else now + timedelta(days=days),
                "requests_per_minute": requests_per_minute,
                "burst": burst,
            }
        )
        change_keys(path, lambda document: KeyDocument(keys=(*document.keys, key)))
        complain(f"Key {key.id} is in {path}. This is the only time that it is shown:")
        typer.echo(token)


@key_commands.command("list")
def list_keys(*, key_file: KeyFileOption = None, as_json: JsonOption = False) -> None:
    """List the keys: all about them but the secrets, which nobody has."""
    with friendly_errors():
        from app.adapters.key_file import read_keys

        keys = read_keys(_path(key_file)).keys
        if as_json:
            shown = [key.model_dump(mode="json", exclude={"sha256"}) for key in keys]
            typer.echo(json.dumps(shown, indent=2))
            return
        for key in keys:
            facts = [
                key.id,
                ",".join(key.scopes),
                f"tenant {key.tenant}" if key.tenant else "all passages",
                f"expires {key.expires:%Y-%m-%d}" if key.expires else "does not expire",
                key.name,
            ]
            typer.echo("  ".join(fact for fact in facts if fact))


@key_commands.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key; see `keys list`.")],
    key_file: KeyFileOption = None,
) -> None:
    """Remove a key. A running service refuses it within a second."""
    with friendly_errors():
        from app.adapters.key_file import change_keys, read_keys
        from app.core.access.keys import KeyDocument

        path = _path(key_file)
        read_keys(path)  # a missing file is a mistake here

        def without(document: KeyDocument) -> KeyDocument:
            kept = tuple(key for key in document.keys if key.id != key_id)
            if len(kept) == len(document.keys):
                raise UsageError(f"{path} has no key {key_id}; `isoglot keys list` shows them.")
            return KeyDocument(keys=kept)

        change_keys(path, without)
        complain(f"Key {key_id} is revoked.")


def _path(given: Path | None) -> Path:
    path = settings_from(key_file=given).key_file
    if path is None:
        raise UsageError("Name the key file: --key-file, or ISOGLOT_KEY_FILE.")
    return path
