"""Proposals and calibrators as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from app.core.bundle import Bundle
from app.core.calibration.choice import Chosen
from app.core.calibration.document import CalibratorDocument
from app.core.feedback.refit import Interval, Proposal


def proposal_report(console: Console, proposal: Proposal, added: str | None) -> None:
    """Print what came of a refit."""
    console.print(
        f"{proposal.labels} labels of {proposal.queries} queries, {proposal.relevant} relevant, on "
        f"statements of {proposal.calibrator}."
    )
    if proposal.gain is not None and proposal.nll is not None and proposal.rise is not None:
        console.print(
            f"Labels rise with what was stated by {proposal.rise:.1f} standard deviations, and on "
            f"queries that were not fitted pull towards the proposal by {proposal.pull:.1f}."
        )
        console.print(
            f"logit' = {proposal.scale:.3f} * logit {proposal.shift:+.3f} "
            f"{proposal.same_shift:+.3f} * same   (shrunk by {proposal.ridge:g} labels)"
        )
        console.print(
            f"Loss on queries that were not fitted: {proposal.nll[0]:.4f} before, "
            f"{proposal.nll[1]:.4f} after; lower by {_shown(proposal.gain, 4)}"
        )
        table = _table("hits", "labels", "relevant", "expected/observed before", "after")
        for name, found in proposal.agreement.items():
            table.add_row(
                name,
                str(found.labels),
                str(found.relevant),
                _shown(found.before),
                _shown(found.after),
            )
        console.print(table)
    for warning in proposal.warnings:
        console.print(f"Mind: {warning}")
    if proposal.refusal is not None:
        console.print(f"Refused: {proposal.refusal}")
        return
    console.print(
        f"Proposed: {added}. `isoglot calibrator shadow {added}` records it beside the active one, "
        f"`isoglot calibrator promote {added}` serves it."
    )


def list_calibrators(
    console: Console, bundle: Bundle, documents: Sequence[CalibratorDocument], chosen: Chosen
) -> None:
    """Print the bundle's own calibrator and those beside it."""
    table = _table("id", "role", "from", "labels", "expected/observed")
    own = bundle.calibrator
    if own is not None:
        table.add_row(own.id, _role(own.id, chosen), "bundle", str(own.document.fit.hits), "")
    for document in documents:
        feedback: Any = document.metrics.get("feedback")
        known = isinstance(feedback, dict)
        table.add_row(
            document.id,
            _role(document.id, chosen),
            "feedback" if known else "file",
            str(document.fit.hits),
            _moved(feedback) if known else "",
        )
    console.print(table)


def list_steps(console: Console, steps: Sequence[Mapping[str, Any]]) -> None:
    """Print the audit trail."""
    table = _table("time", "user", "action", "calibrator", "active afterwards", "reason")
    for step in steps:
        is_change = step["action"] != "add"
        table.add_row(
            step["time"],
            step["user"],
            step["action"],
            step["calibrator"] or "",
            (step["active"] or "the bundle's own") if is_change else "",
            step["reason"],
        )
    console.print(table)


def _role(calibrator: str, chosen: Chosen) -> str:
    if chosen.active is not None and calibrator == chosen.active.id:
        return "active"
    if chosen.shadow is not None and calibrator == chosen.shadow.id:
        return "shadow"
    return "before" if calibrator == chosen.previous else ""


def _moved(feedback: Any) -> str:  # noqa: ANN401  any JSON
    found = feedback.get("agreement", {}).get("all")
    return f"{found['before']['value']:.2f} to {found['after']['value']:.2f}" if found else ""


def _shown(interval: Interval, digits: int = 2) -> str:
    low, high = f"{interval.low:.{digits}f}", f"{interval.high:.{digits}f}"
    return f"{interval.value:.{digits}f} ({low} to {high})"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column)
    return table
