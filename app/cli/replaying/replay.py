"""``isoglot replay``: traffic with labels through a running service, healthy or with a fault."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import typer
from pydantic import SecretStr
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.cli import console
from app.cli.demonstration.data import demo_directory, load_corpus
from app.cli.exits import CannotStartError, Exit, UsageError, complain
from app.cli.replaying.traffic import (
    HEALTHY,
    Asked,
    Fault,
    RecordedQuery,
    Tally,
    Traffic,
    read_traffic,
)
from app.client import (
    AsyncIsoglot,
    ConnectionFailedError,
    IsoglotClientError,
    Judgement,
    SearchResult,
)
from app.core.calibration.monitoring import CalibrationStatistics, calibration_statistics
from app.core.languages.codes import relation_of

CONCURRENT = 8
"""Searches under way at once at most."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What to replay.

    Attributes:
        url: Address of the service.
        key: API key, where the service needs one.
        traffic: The searches and their labels.
        fault: What goes wrong.
        fault_after: Seconds until it does.
        rate: Searches a second.
        duration: Seconds.
        hits: Hits a search, all of which are labelled.
        transport: How requests travel; over the network by default.
    """

    url: str
    key: SecretStr | None
    traffic: Traffic
    fault: Fault
    fault_after: float
    rate: float
    duration: float
    hits: int
    transport: httpx.AsyncBaseTransport | None = field(default=None, repr=False)


def queries_of(file: Path | None, demo_dir: Path | None, *, recorded: bool) -> list[RecordedQuery]:
    """Return the queries of a file, or those of the demo corpus.

    Raises:
        CannotStartError: They cannot be read.
        UsageError: Recorded labels are asked for where none are recorded.
    """
    if file is None:
        corpus = load_corpus(demo_directory(demo_dir))
        return [
            RecordedQuery(
                query=query.text,
                language=query.language,
                relevant=tuple(sorted(corpus.relevant.get(query.id, frozenset()))),
            )
            for query in corpus.queries
        ]
    queries = read_traffic(file)
    if recorded and all(query.relevant is None for query in queries):
        raise UsageError(f"No line of {file} has `relevant`, so there are no labels to replay.")
    return queries


def run_replay(replay: Replay, *, as_json: bool) -> None:
    """Replay, and print what was promised and found before the fault and from it on.

    Raises:
        CannotStartError: The service is not there, not ready, or states no probabilities.
    """
    before, after = Tally(), Tally()
    interrupted = False
    try:
        asyncio.run(_replay(replay, before, after))
    except KeyboardInterrupt:
        interrupted = True
    parts = {"healthy": before, replay.fault.kind: after}
    found = {name: tally for name, tally in parts.items() if tally.searches or tally.unanswered}
    _print(found, as_json=as_json)
    if interrupted:
        raise typer.Exit(Exit.INTERRUPTED)


async def _replay(replay: Replay, before: Tally, after: Tally) -> None:
    key = replay.key.get_secret_value() if replay.key else None
    async with AsyncIsoglot(replay.url, api_key=key, transport=replay.transport) as service:
        health = await service.health()
        if not health.is_ready:
            raise CannotStartError(f"The service at {replay.url} is not ready: {health.detail}")
        with _progress() as progress:
            task = progress.add_task("Healthy", total=replay.duration, labels=0)
            running: set[asyncio.Task[None]] = set()
            began = time.monotonic()
            try:
                for number in range(math.ceil(replay.rate * replay.duration)):
                    due = number / replay.rate
                    while len(running) >= CONCURRENT:
                        await _first(running)
                    await asyncio.sleep(max(0.0, began + due - time.monotonic()))
                    faulty = replay.fault.kind != "none" and due >= replay.fault_after
                    tally, fault = (after, replay.fault) if faulty else (before, HEALTHY)
                    asked = replay.traffic.search(number, fault)
                    running.add(asyncio.create_task(_ask(service, replay, asked, tally)))
                    progress.update(
                        task,
                        completed=time.monotonic() - began,
                        description=replay.fault.kind if faulty else "healthy",
                        labels=before.accepted + after.accepted,
                    )
                while running:
                    await _first(running)
            finally:
                for one in running:
                    one.cancel()


async def _first(running: set[asyncio.Task[None]]) -> None:
    """Wait until a search is done; what is wrong with it is wrong with the replay."""
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    running -= done
    for one in done:
        one.result()


async def _ask(service: AsyncIsoglot, replay: Replay, asked: Asked, tally: Tally) -> None:
    """Search, label every hit, and send the labels."""
    try:
        result = await service.search(
            asked.text, limit=replay.hits, include=[], language={"query": asked.language}
        )
        tally.searches += 1
        await _label(service, replay, asked, result, tally)
    except ConnectionFailedError as error:
        raise CannotStartError(f"The service at {replay.url} is gone: {error}") from error
    except IsoglotClientError as error:
        tally.unanswered += 1
        if tally.unanswered == 1:
            complain(f"A search was not answered: {error}")


async def _label(
    service: AsyncIsoglot, replay: Replay, asked: Asked, result: SearchResult, tally: Tally
) -> None:
    stated = [
        (hit, hit.probability, hit.feedback_token)
        for hit in result.hits
        if hit.probability is not None and hit.feedback_token is not None
    ]
    if result.hits and not stated:
        raise CannotStartError(
            f"Hits of the service at {replay.url} cannot be labelled: its bundle has no "
            "calibrator, or it takes no feedback. `isoglot bundle inspect` and its log say which."
        )
    if not stated:
        return
    relevant = replay.traffic.label(asked, [(hit.id, p) for hit, p, _ in stated])
    judgements: list[Judgement] = [
        {"token": token, "relevant": label, "source": "judged"}
        for (_, _, token), label in zip(stated, relevant, strict=True)
    ]
    receipts = await service.feedback_batch(judgements)
    for (hit, p, _), label, receipt in zip(stated, relevant, receipts, strict=True):
        if receipt.status != "accepted":
            tally.refused += 1
            continue
        tally.accepted += 1
        relation = relation_of(result.query_language.code, hit.language.code)
        tally.add(relation, p, relevant=label)


def _progress() -> Progress:
    screen = console.messages()
    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[labels]} labels"),
        TimeElapsedColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )


def _print(found: dict[str, Tally], *, as_json: bool) -> None:
    if as_json:
        content = {name: _facts(tally) for name, tally in found.items()}
        console.results().out(json.dumps(content, indent=2))
        return
    table = Table("", "relation", "labels", "ECE", "chance", "z", "E/O", "z", "Brier")
    for name, tally in found.items():
        for relation, sums in tally.sums().items():
            table.add_row(name, relation, *_cells(calibration_statistics(sums)))
    if table.row_count:
        console.results().print(table)
    for name, tally in found.items():
        complain(
            f"{name}: {tally.searches} searches, {tally.accepted} labels accepted, "
            f"{tally.refused} refused, {tally.unanswered} searches unanswered."
        )


def _cells(found: CalibrationStatistics) -> Sequence[str]:
    return (
        f"{found.labels:.0f}",
        f"{found.ece:.4f}",
        f"{found.ece_floor:.4f}",
        f"{found.ece_z:.1f}",
        "-" if math.isnan(found.expected_observed) else f"{found.expected_observed:.2f}",
        f"{found.bias_z:+.1f}",
        f"{found.brier:.4f}",
    )


def _facts(tally: Tally) -> dict[str, object]:
    return {
        "searches": tally.searches,
        "unanswered": tally.unanswered,
        "accepted": tally.accepted,
        "refused": tally.refused,
        "relations": {
            relation: {
                name: value if math.isfinite(value) else None
                for name, value in asdict(calibration_statistics(sums)).items()
            }
            for relation, sums in tally.sums().items()
        },
    }
