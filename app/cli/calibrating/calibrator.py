"""``isoglot recalibrate`` and ``isoglot calibrator``: propose, look at, promote, take back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.exits import Exit, UsageError, complain, friendly_errors
from app.cli.feedback import read_feedback
from app.cli.options import BundleOption, DataDirOption, JsonOption, settings_from

if TYPE_CHECKING:
    from app.adapters.calibrator_shelf import CalibratorShelf
    from app.core.bundle import Bundle
    from app.core.feedback.entries import Entry
    from app.settings import Settings

calibrator_commands = typer.Typer(
    help="Look at the calibrators beside that of the bundle, and choose which one is served.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the calibrator; see `calibrator list`.")
]
_OWN = "the bundle's own"

ReasonOption = Annotated[str, typer.Option(help="Why; it is kept in the audit trail.")]


def recalibrate(
    *,
    bundle: BundleOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose a calibrator from feedback on what the active one stated. Nothing is served by it.

    Ends with code 1 and the reason where a proposal would not help.
    """
    with friendly_errors():
        from app.cli import console
        from app.cli.calibrating.calibrator_tables import proposal_report
        from app.core.feedback.labels import labels_of
        from app.core.feedback.moved import moved_calibrator
        from app.core.feedback.refit import propose

        settings, loaded, shelf = _open(bundle, data_dir)
        active = shelf.chosen(loaded).active
        if active is None:
            raise UsageError(
                "The bundle has no calibrator, so nothing was stated that could be judged."
            )
        labels = labels_of(asyncio.run(_all(settings)), active.id)
        proposal = propose(active.document, labels)
        added = None
        if proposal.refusal is None:
            today = datetime.now(UTC).date()
            text = moved_calibrator(active.document, proposal, labels, fitted=today)
            added = shelf.add(text, reason=f"proposed from {proposal.labels} labels").id
        if as_json:
            console.results().out(json.dumps({**asdict(proposal), "proposed": added}, indent=2))
        else:
            proposal_report(console.results(), proposal, added)
    if proposal.refusal is not None:
        raise typer.Exit(Exit.REJECTED)


@calibrator_commands.command("list")
def list_all(
    *, bundle: BundleOption = None, data_dir: DataDirOption = None, as_json: JsonOption = False
) -> None:
    """List the calibrators, and which of them is active, shadow or was active before."""
    with friendly_errors():
        from app.cli import console
        from app.cli.calibrating.calibrator_tables import list_calibrators

        _, loaded, shelf = _open(bundle, data_dir)
        documents, chosen = shelf.documents(), shelf.chosen(loaded)
        if as_json:
            shown = {
                "bundle": loaded.calibrator.id if loaded.calibrator else None,
                "active": chosen.active.id if chosen.active else None,
                "shadow": chosen.shadow.id if chosen.shadow else None,
                "previous": chosen.previous,
                "calibrators": [document.id for document in documents],
            }
            console.results().out(json.dumps(shown, indent=2))
        else:
            list_calibrators(console.results(), loaded, documents, chosen)
            if chosen.is_void:
                complain(
                    "The choice was made for another bundle, and is left aside: its own is served."
                )


@calibrator_commands.command()
def add(
    file: Annotated[
        Path, typer.Argument(help="A calibrator, as `isoglot-train calibrate` writes.")
    ],
    reason: ReasonOption = "",
    data_dir: DataDirOption = None,
) -> None:
    """Put a calibrator from elsewhere beside the others. Nothing is served by it yet."""
    with friendly_errors():
        from app.adapters.calibrator_shelf import CalibratorShelf

        settings = settings_from(data_dir=data_dir)
        shelf = CalibratorShelf.of(settings.data_dir, settings.collection)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read: {error}") from error
        complain(f"Calibrator {shelf.add(text, reason=reason).id} is added.")


@calibrator_commands.command()
def promote(
    calibrator: IdArgument,
    reason: ReasonOption = "",
    bundle: BundleOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Have a calibrator state the probabilities. A running service does so within a second."""
    with friendly_errors():
        _, loaded, shelf = _open(bundle, data_dir)
        choice = shelf.promote(calibrator, loaded, reason=reason)
        before = choice.history[-1] or _OWN
        complain(
            f"Active: {calibrator}. Before: {before}; `isoglot calibrator rollback` undoes it."
        )


@calibrator_commands.command()
def rollback(
    reason: ReasonOption = "", bundle: BundleOption = None, data_dir: DataDirOption = None
) -> None:
    """Undo the last promotion. A running service does so within a second."""
    with friendly_errors():
        _, loaded, shelf = _open(bundle, data_dir)
        choice = shelf.rollback(loaded, reason=reason)
        complain(f"Active: {choice.active or _OWN}.")


@calibrator_commands.command()
def shadow(
    calibrator: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]", help="Id of the calibrator; none ends it.", show_default=False
        ),
    ] = None,
    reason: ReasonOption = "",
    bundle: BundleOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Record what a calibrator would state, beside the active one, in metrics and feedback.

    Callers never see it. Without an id it ends.
    """
    with friendly_errors():
        _, loaded, shelf = _open(bundle, data_dir)
        shelf.shadow(calibrator, loaded, reason=reason)
        complain(f"Shadow: {calibrator or 'none'}.")


@calibrator_commands.command()
def history(*, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Show who did what with the calibrators, when and why; oldest first."""
    with friendly_errors():
        from app.adapters.calibrator_shelf import CalibratorShelf
        from app.cli import console
        from app.cli.calibrating.calibrator_tables import list_steps

        settings = settings_from(data_dir=data_dir)
        steps = CalibratorShelf.of(settings.data_dir, settings.collection).audit()
        if as_json:
            console.results().out(json.dumps(steps, indent=2, ensure_ascii=False))
        else:
            list_steps(console.results(), steps)


def _open(bundle: Path | None, data_dir: Path | None) -> tuple[Settings, Bundle, CalibratorShelf]:
    """Return the shelf, and the bundle that is served: after a reindexing not that of settings."""
    from app.adapters.calibrator_shelf import CalibratorShelf
    from app.bootstrap import served_bundle
    from app.core.bundle import load_bundle

    settings = settings_from(bundle=bundle, data_dir=data_dir)
    shelf = CalibratorShelf.of(settings.data_dir, settings.collection)
    served = asyncio.run(served_bundle(settings)) if bundle is None else load_bundle(bundle)
    return settings, served, shelf


async def _all(settings: Settings) -> list[Entry]:
    return [entry async for entry in read_feedback(settings)]
