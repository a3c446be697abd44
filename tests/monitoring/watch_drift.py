"""Drift, end to end: a service, labels through its API, a real Prometheus, the shipped rules.

    make watch-drift      (python -m tests.monitoring.watch_drift)
    python -m tests.monitoring.watch_drift --fault all

Healthy traffic must raise nothing. Then a fault is planted: its alerts must go from pending to
firing in Prometheus' own API; what is no fault of probabilities must raise nothing for as long.
After the healthy part every query of every dashboard is asked. Every further fault gets a service
and a Prometheus of its own, because labels of one fault stay in the windows of the next. Time is
compressed by the windows of the profile `compressed` in deploy/prometheus/values.toml.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.grafana.build import render as dashboards
from tests.monitoring.prometheus_server import PrometheusServer, free_ports

DRIFT, BIAS = "IsoglotCalibrationDrift", "IsoglotCalibrationBias"
FAULTS: dict[str, frozenset[str]] = {
    "over-confidence": frozenset({DRIFT}),
    "prior-shift": frozenset({BIAS}),
    "other-encoder": frozenset({DRIFT, BIAS}),
    "language-mix": frozenset(),
    "vague-queries": frozenset(),
}
"""What can be planted, and the alerts that must fire; without any nothing may."""
ISOGLOT = [sys.executable, "-c", "from app.cli import main; main()"]

UNLIKE_THE_REFERENCE = "IsoglotScoreShift"
"""May fire, and is right: the demo corpus is not what the bundle's reference was made from."""

EXCUSED: dict[str, str] = {
    'job="qdrant"': "the embedded store is in use",
    "isoglot_encoder_queue_wait": "the starter bundle's encoder is quick, so queries do not queue",
}
"""Parts of queries that may return nothing here, and why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An alert in a state.

    Attributes:
        second: Of the part of the run, when it was first seen.
        alert: Its name.
        state: ``pending`` or ``firing``.
        relation: Its label, if it has one.
        summary: Its annotation.
        runbook: Where its runbook is.
    """

    second: float
    alert: str
    state: str
    relation: str
    summary: str
    runbook: str


def main() -> None:
    """Run both parts, report, and exit with 1 unless all is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=180, help="of each part at most")
    parser.add_argument("--rate", type=float, default=5.0, help="searches a second")
    parser.add_argument("--fault", choices=[*FAULTS, "all"], default="over-confidence")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    program = shutil.which("prometheus")
    if program is None:
        sys.exit("prometheus is missing: apt-get install prometheus")
    faults = list(FAULTS) if options.fault == "all" else [options.fault]
    problems = []
    for number, fault in enumerate(faults):
        with _watched(program) as (prometheus, target):
            healthy = [] if number else _healthy(prometheus, target, options)
            problems += healthy + _faulty(prometheus, target, options, fault)
    for problem in problems:
        print(f"FAILED: {problem}")  # noqa: T201
    sys.exit(1 if problems else 0)


@contextmanager
def _watched(program: str) -> Iterator[tuple[PrometheusServer, str]]:
    """Start a service and a Prometheus that reads it."""
    ports = free_ports(2)
    target = f"127.0.0.1:{ports[0]}"
    with (
        tempfile.TemporaryDirectory(prefix="isoglot-watch-") as scratch,
        tempfile.TemporaryDirectory(prefix="isoglot-watch-") as made,
        _service(Path(scratch), ports[0]),
        PrometheusServer(program, Path(made), port=ports[1], target=target) as prometheus,
    ):
        prometheus.wait_for_scrape()
        yield prometheus, target


def _healthy(prometheus: PrometheusServer, target: str, options: argparse.Namespace) -> list[str]:
    """Send healthy traffic, ask the dashboards, and return what is not as it must be."""
    _say(f"healthy traffic, {options.seconds} seconds")
    seen = _replay(prometheus, target, options, "none", frozenset())
    answered, excused, silent = _ask_dashboards(prometheus)
    _say(f"queries of dashboards: {answered} with data, {len(silent)} without, {excused} excused")
    return [
        *_fired(seen, "healthy traffic"),
        *(f"no data: {query}" for query in silent),
        *(f"a rule cannot be evaluated: {reason}" for reason in prometheus.unhealthy_rules()),
    ]


def _faulty(
    prometheus: PrometheusServer, target: str, options: argparse.Namespace, fault: str
) -> list[str]:
    """Plant a fault, and return what is not as it must be."""
    _say(f"{fault} planted, {options.seconds} seconds at most")
    wanted = FAULTS[fault]
    seen = _replay(prometheus, target, options, fault, wanted)
    problems = [] if wanted else _fired(seen, fault)
    for alert in sorted(wanted):
        states = {one.state for one in seen if one.alert == alert}
        if states != {"pending", "firing"}:
            problems.append(
                f"{fault}: {alert} must be pending, then firing; it was {sorted(states)}"
            )
    problems += [f"annotation: {one.summary}" for one in seen if "error" in one.summary]
    for one in _firing(seen):
        if not prometheus.page(one.runbook).startswith("# "):
            problems.append(f"{one.alert}: no runbook at {one.runbook}")
    return problems


def _fired(seen: Sequence[Seen], traffic: str) -> list[str]:
    """Return which alerts fired that must not."""
    return [
        f"{one.alert} fired on {traffic}"
        for one in _firing(seen)
        if one.alert != UNLIKE_THE_REFERENCE
    ]


def _replay(
    prometheus: PrometheusServer,
    target: str,
    options: argparse.Namespace,
    fault: str,
    wanted: frozenset[str],
) -> list[Seen]:
    """Send traffic and watch alerts until it ends, or until all that are wanted fire."""
    seen: dict[tuple[str, str, str], Seen] = {}
    words = [
        "replay", "--url", f"http://{target}", "--rate", str(options.rate), "--hits", "20",
        "--duration", str(options.seconds), "--fault", fault, "--seed", str(options.seed), "--json",
    ]  # fmt: skip
    began = time.monotonic()
    with subprocess.Popen(
        [*ISOGLOT, *words],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_interrupts,  # noqa: PLW1509  there are no threads
    ) as replaying:
        while replaying.poll() is None:
            for alert in prometheus.alerts():
                found = _seen(alert, time.monotonic() - began)
                key = (found.alert, found.state, found.relation)
                if key not in seen:
                    seen[key] = found
                    _say(f"{found.second:6.1f} s  {found.state:8} {found.alert} {found.relation}")
            if wanted and wanted <= {one.alert for one in _firing(seen.values())}:
                replaying.send_signal(signal.SIGINT)  # it prints what it sent
                break
            time.sleep(0.5)
        report, _ = replaying.communicate()
    for name, part in json.loads(report).items():
        _say(f"{name}: {part['searches']} searches, {part['accepted']} labels")
        for relation, found in part["relations"].items():
            figures = (
                ("ECE", found["ece"]), ("chance", found["ece_floor"]), ("z", found["ece_z"]),
                ("E/O", found["expected_observed"]),
            )  # fmt: skip
            said = ", ".join(f"{name} {value:.4g}" for name, value in figures if value is not None)
            _say(f"  {relation:5} {found['labels']:6.0f} labels, {said or 'no figures'}")
    return list(seen.values())


def _hear_interrupts() -> None:
    """Undo what shells do to programs in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _ask_dashboards(prometheus: PrometheusServer) -> tuple[int, int, list[str]]:
    """Ask every query of every dashboard; returns those with data, excused, and without any."""
    calibrator = prometheus.label_values("calibrator", 'isoglot_calibrator_info{role="active"}')[0]
    filled = {
        "$job": "isoglot", "$calibrator": calibrator, "$query_lang": ".*",
        "$__rate_interval": "20s",
    }  # fmt: skip
    answered, excused, silent = 0, 0, []
    for board in dashboards().values():
        for panel in json.loads(board)["panels"]:
            for query in panel.get("targets", []):
                expression = query["expr"]
                for relation in ("same", "cross") if panel.get("repeat") else (".+",):
                    concrete = expression.replace("$relation", relation)
                    for variable, value in filled.items():
                        concrete = concrete.replace(variable, value)
                    if prometheus.query(concrete):
                        answered += 1
                    elif any(part in concrete for part in EXCUSED):
                        excused += 1
                    else:
                        silent.append(f"{panel['title']}: {concrete}")
    return answered, excused, silent


def _seen(alert: dict[str, Any], second: float) -> Seen:
    labels = alert["labels"]
    return Seen(
        second=second,
        alert=labels["alertname"],
        state=alert["state"],
        relation=labels.get("relation", ""),
        summary=alert["annotations"]["summary"],
        runbook=alert["annotations"]["runbook_url"],
    )


def _firing(seen: Iterable[Seen]) -> list[Seen]:
    return [one for one in seen if one.state == "firing"]


@contextmanager
def _service(scratch: Path, port: int) -> Iterator[None]:
    environment = {**os.environ, "ISOGLOT_DATA_DIR": str(scratch / "data")}
    log = scratch / "service.log"
    with log.open("wb") as out:
        serving = subprocess.Popen(
            [*ISOGLOT, "demo", "--port", str(port)], env=environment, stdout=out, stderr=out
        )
    try:
        for _ in range(600):
            if serving.poll() is not None:
                raise RuntimeError(f"the service did not start:\n{log.read_text()[-2000:]}")
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health/ready").is_success:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        yield
    finally:
        serving.terminate()
        serving.wait(30)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
