"""``isoglot calibrate``: a calibrator of one's own, from judgements of one's own corpus."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.progress import Progress
from rich.table import Table

from app.cli import console
from app.cli.calibrating.judgements import JudgedQuery, QueryLine, fingerprint, read_judgements
from app.cli.calibrating.labelling import ask, worth_judging
from app.cli.calibrating.places import Place
from app.cli.calibrating.served_lists import QueryList, judged_hits, serve
from app.cli.calibrating.svg import reliability_diagram
from app.cli.exits import Exit, UsageError
from app.core.calibration.calibrator import Calibrator
from app.core.calibration.document import parse_calibrator
from app.core.calibration.evidence import Estimate
from app.core.calibration.judged import JudgedHits
from app.core.calibration.refit import Refit, refit

CALIBRATOR_FILE = "calibrator.json"
REPORT_FILE = "report.json"


def run_calibrate(
    queries: Sequence[JudgedQuery],
    opened: AbstractAsyncContextManager[Place],
    *,
    out: Path,
    complete: bool,
    as_json: bool,
) -> None:
    """Fit, report, and write the calibrator.

    Args:
        queries: With their labels.
        opened: Opens what is searched, see ``open_place``.
        out: Directory for what is written.
        complete: Whether hits without a label are irrelevant.
        as_json: Whether stdout gets the report as JSON.

    Raises:
        UsageError: A judged passage is not stored.
        CalibrationError: There are too few judged hits, or hits of one class only.
        CannotStartError: What is searched cannot be opened, or has no calibrator to begin with.
        typer.Exit: With code 1 where the scores do not separate.
    """
    base, lists = asyncio.run(_served(opened, queries))
    hits = judged_hits(base, lists, complete=complete)
    result = refit(
        base.document,
        hits,
        data="judgements of your own",
        data_sha256=fingerprint(list(queries)),
        fitted=datetime.now(UTC).date(),
    )
    report = _report(base, hits, result, len(queries))
    if as_json:
        console.results().out(json.dumps(report, indent=2))
    else:
        _print(base, hits, result)
    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT_FILE).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if result.text is None:
        raise typer.Exit(Exit.REJECTED)
    (out / CALIBRATOR_FILE).write_text(result.text, encoding="utf-8")
    _draw(out, result.text)
    console.messages().print(f"Written: {out / CALIBRATOR_FILE}, {REPORT_FILE} and diagrams.")
    console.messages().print(
        f"To serve it: isoglot calibrator add {out / CALIBRATOR_FILE}, then isoglot calibrator "
        "promote ID.",
        soft_wrap=True,
    )


def run_labelling(
    queries: Sequence[QueryLine],
    opened: AbstractAsyncContextManager[Place],
    path: Path,
    *,
    labels: int,
) -> list[JudgedQuery]:
    """Ask for judgements of hits that are worth it, and return all that the file holds then.

    Raises:
        UsageError: The file holds a line that is no judgement.
        CannotStartError: What is searched cannot be opened, or has no calibrator to begin with.
    """
    asked = [JudgedQuery(query.text, query.language) for query in queries]
    base, lists = asyncio.run(_served(opened, asked))
    screen = console.messages()
    done = ask(worth_judging(base, lists, labels), path, screen)
    screen.print(f"{done} judged now, kept in {path}.")
    return read_judgements(path)


async def _served(
    opened: AbstractAsyncContextManager[Place], queries: Sequence[JudgedQuery]
) -> tuple[Calibrator, list[QueryList]]:
    async with opened as place:
        lists = []
        with Progress(console=console.messages(), transient=True) as progress:
            searching = progress.add_task("Searching", total=len(queries))
            for query in queries:
                lists.append(await serve(place.search, query))
                progress.advance(searching)
        await _refuse_unknown(place, lists)
        return place.calibrator, lists


async def _refuse_unknown(place: Place, lists: Sequence[QueryList]) -> None:
    found = {passage for one in lists for passage in one.ids}
    missing = {
        passage: one.query.places[passage]
        for one in lists
        for passage in one.query.labels
        if passage not in found
    }
    known = await place.stored(sorted(missing))
    unknown = [
        f"{where}: {passage!r}" for passage, where in missing.items() if passage not in known
    ]
    if unknown:
        more = f", and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise UsageError(
            f"{len(unknown)} judged passages are not stored: {'; '.join(unknown[:5])}{more}. Index "
            "them, or take the judgements out."
        )


def _report(base: Calibrator, hits: JudgedHits, result: Refit, queries: int) -> dict[str, object]:
    return {
        "verdict": result.verdict,
        "reason": result.reason,
        "base": base.id,
        "calibrator": None if result.text is None else json.loads(result.text)["id"],
        "judged_queries": queries,
        "queries": hits.queries,
        "hits": len(hits.sample.relevant),
        "relevant": int(hits.sample.relevant.sum()),
        "gain_nll": result.gain.model_dump(),
        "before": {name: found.model_dump() for name, found in result.before.items()},
        "after": {name: found.model_dump() for name, found in result.after.items()},
        "thresholds": result.thresholds or None,
    }


_NAMES = {
    "nll": "log loss",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "expected_observed": "expected / found relevant",
    "auroc": "relevant above irrelevant (AUROC)",
}


def _print(base: Calibrator, hits: JudgedHits, result: Refit) -> None:
    screen = console.results()
    relevant = int(hits.sample.relevant.sum())
    screen.print(
        f"{len(hits.sample.relevant)} judged hits of {hits.queries} queries, {relevant} relevant."
    )
    table = Table("on queries not fitted on", f"before ({base.id})", "after", box=None)
    for name, label in _NAMES.items():
        table.add_row(label, _figure(result.before[name]), _figure(result.after[name]))
    screen.print(table)
    style = {"better": "green", "no better": "yellow", "not separable": "red"}[result.verdict]
    screen.print(f"[{style}]{result.verdict}[/{style}]: {result.reason}", soft_wrap=True)
    if result.thresholds:
        screen.print(result.thresholds, soft_wrap=True)


def _figure(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _draw(out: Path, text: str) -> None:
    evidence = parse_calibrator(json.loads(text)).evidence
    assert evidence is not None  # a refit always has it
    for name, bins in evidence.reliability.items():
        diagram = reliability_diagram(f"Hits: {name}", evidence.before.get(name, ()), bins)
        path = out / f"reliability-{name.replace(' ', '-')}.svg"
        path.write_text(diagram, encoding="utf-8")
