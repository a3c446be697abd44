"""What a search over HTTP spends its time on, part by part.

    python -m benchmarks.search_parts --passages 10000 --rounds 5 --out parts.json

The service runs in this process, as ``isoglot serve`` runs it, with a clock around the functions
of each part. One client in a process of its own asks queries that nobody has asked before, one
after another; in every second round it asks for all diagnostics. A part within a part is counted
once, as the inner one. Shares are of the mean time that the client waits; what no clock is around
is the framework, HTTP, the event loop and the client. ``counting`` happens once the answer is sent.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.adapters.edge import nearest
from app.adapters.edge.store import EdgePassageStore
from app.adapters.language_identifier import FastTextIdentifier
from app.api import search_convert
from app.api.routes import search as route
from app.cli.serve import run_server
from app.core.encoding import EncoderThread
from app.core.languages.window import LanguageWindow
from app.core.search import judging, service
from app.core.search.paging import Snapshots
from app.core.search.ranking import Ranking
from app.environment import load_settings
from app.telemetry.requests import RequestMetrics
from app.telemetry.serving import EncoderMetrics, StoreMetrics
from benchmarks import corpus
from benchmarks.load import Outcome, closed_loop, post, spread
from benchmarks.service import FILTER_FIELDS, free_port, index, measured

PARTS: dict[str, list[tuple[Any, str]]] = {
    "language": [(FastTextIdentifier, "identify"), (judging, "known_posterior")],
    "calibration": [(service, "judge")],
    "diagnostics": [
        (judging.ShownBias, "__init__"),
        (judging.ShownBias, "__call__"),
        (service, "observed"),
        (LanguageWindow, "add"),
        (search_convert, "_diagnostics"),
    ],
    "encoder": [(EncoderThread, "_encode")],
    "engine": [(nearest, "_nearest")],
    "candidates": [(EdgePassageStore, "_search_now")],
    "order and page": [(service, "rank"), (Ranking, "page"), (service, "show")],
    "cursor": [(Snapshots, "keep")],
    "tokens": [(search_convert, "tokens_of")],
    "wire": [
        (search_convert, "to_request"),
        (search_convert, "to_response"),
        (route, "json_response"),
    ],
    "counting": [
        (route, "count_search"),
        (RequestMetrics, "began"),
        (RequestMetrics, "answered"),
        (EncoderMetrics, "encoded"),
        (StoreMetrics, "called"),
    ],
}
"""Part to the functions that it consists of: where each is looked up, and its name."""

AIM = ("language", "calibration", "diagnostics")
"""The parts that should take less than a tenth of a search together."""

_KINDS: dict[str, list[str]] = {"plain": [], "diagnostics": ["language", "calibration", "timing"]}


class PartClock:
    """Measures how long functions run, each without those within it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._within: list[float] = []

    def around(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function with a clock around it."""
        within = self._within

        def timed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  whatever it takes
            within.append(0.0)
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                took = time.perf_counter() - began
                self.seconds[part] += took - within.pop()
                if within:
                    within[-1] += took

        return timed


@contextmanager
def watched() -> Iterator[PartClock]:
    """Put clocks around the functions of all parts; a name that does not exist is an error."""
    clock = PartClock()
    before = [(at, name, getattr(at, name)) for places in PARTS.values() for at, name in places]
    for part, places in PARTS.items():
        for at, name in places:
            setattr(at, name, clock.around(part, getattr(at, name)))
    try:
        yield clock
    finally:
        for at, name, call in before:
            setattr(at, name, call)


def ask(url: str, texts: list[str], asked: list[str], seconds: float) -> Outcome:
    """Ask one query after another."""
    requests = [post(f"{url}/search", {"query": text, "diagnostics": asked}) for text in texts]
    return asyncio.run(closed_loop(url, requests, connections=1, seconds=seconds))


def rounds(url: str, clock: PartClock, given: argparse.Namespace) -> dict[str, Any]:
    """Return microseconds and shares of every part, by kind of request."""
    texts = corpus.queries(2_000 * len(_KINDS) * (given.rounds + 1))
    total: dict[str, list[float]] = defaultdict(list)
    took: dict[str, dict[str, list[float]]] = {kind: defaultdict(list) for kind in _KINDS}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as client:
        for number in range(given.rounds + 1):
            for kind, asked in _KINDS.items():
                mine, texts = texts[:2_000], texts[2_000:]
                clock.seconds.clear()
                outcome = client.submit(ask, url, mine, asked, given.seconds).result()
                assert set(outcome.statuses) == {200}, outcome.statuses
                if not number:  # the first round warms up
                    continue
                answers = len(outcome.latency)
                total[kind].append(sum(outcome.latency) / answers * 1e6)
                for part in PARTS:
                    took[kind][part].append(clock.seconds[part] / answers * 1e6)
    return {kind: _shares(total[kind], took[kind]) for kind in _KINDS}


def _shares(total: list[float], took: dict[str, list[float]]) -> dict[str, Any]:
    def facts(parts: tuple[str, ...]) -> dict[str, Any]:
        sums = [sum(took[part][n] for part in parts) for n in range(len(total))]
        shares = [found / whole for found, whole in zip(sums, total, strict=True)]
        return {"us": spread(sums), "share": spread(shares)}

    rest = [whole - sum(took[part][n] for part in PARTS) for n, whole in enumerate(total)]
    return {
        "request_us": spread(total),
        **{part: facts((part,)) for part in PARTS},
        "rest_us": spread(rest),
        "language, calibration and diagnostics": facts(AIM),
    }


def measure(work: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Measure one size of the collection."""
    data = work / f"parts-{given.passages}"
    index(data, given.passages)
    settings = load_settings(
        data_dir=data, filter_fields=FILTER_FIELDS, port=free_port(), log_level="warning"
    )
    found: dict[str, Any] = {}
    failed: list[Exception] = []

    def work_and_stop(url: str, clock: PartClock) -> None:
        try:
            found.update(rounds(url, clock, given))
        except Exception as error:  # noqa: BLE001  raised again once the service has ended
            failed.append(error)
        os.kill(os.getpid(), signal.SIGTERM)

    with watched() as clock:
        run_server(
            settings,
            on_ready=lambda url: threading.Thread(target=work_and_stop, args=(url, clock)).start(),
        )
    if failed:
        raise failed[0]
    return {"passages": given.passages, **found}


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    measured(parser, measure)


if __name__ == "__main__":
    main()
