"""``isoglot bundle``: look at a bundle, and check that it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.exits import Exit, complain, friendly_errors
from app.cli.options import JsonOption

bundle_commands = typer.Typer(
    help="Look at bundles: encoder, calibrator, and what is known about both.",
    no_args_is_help=True,
)

DirectoryArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Directory of the bundle.", show_default=False)
]


@bundle_commands.command(epilog="[bold]Example[/bold]\n\n  isoglot bundle inspect bundles/starter")
def inspect(directory: DirectoryArgument, *, as_json: JsonOption = False) -> None:
    """Show what a bundle holds. A damaged bundle is not shown."""
    with friendly_errors():
        from app.cli import console
        from app.cli.render import bundle_facts
        from app.core.bundle import load_bundle

        bundle = load_bundle(directory)
        if as_json:
            console.results().out(bundle.manifest.model_dump_json(indent=2))
        else:
            bundle_facts(console.results(), bundle)


@bundle_commands.command(epilog="[bold]Example[/bold]\n\n  isoglot bundle verify bundles/starter")
def verify(directory: DirectoryArgument) -> None:
    """Check every file of a bundle, its calibrator, and that its encoder runs.

    Ends with code 1 and says what is damaged.
    """
    from app.adapters.encoders.onnx_encoder import OnnxEncoder
    from app.core.bundle import load_bundle
    from app.core.errors import IsoglotError

    try:
        bundle = load_bundle(directory)
        for arithmetic in bundle.manifest.onnx:
            OnnxEncoder(bundle.spec, bundle.onnx_path(arithmetic), bundle.tokenizer_path)
    except IsoglotError as error:
        complain(str(error))
        raise typer.Exit(Exit.REJECTED) from None
    complain(f"{bundle.manifest.short_id} is whole: {len(bundle.manifest.files)} files.")
