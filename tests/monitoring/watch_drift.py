"""Drift, end to end: a service, labels through its API, a real Prometheus, the shipped rules.

    make watch-drift      (python -m tests.monitoring.watch_drift)

Healthy traffic must raise nothing. Then over-confidence is planted: its alert must go from pending
to firing in Prometheus' own API. After the healthy part every query of every dashboard is asked.
Time is compressed by the windows of the profile `compressed` in deploy/prometheus/values.toml.
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

ALERT = "IsoglotCalibrationDrift"
ISOGLOT = [sys.executable, "-c", "from app.cli import main; main()"]

UNLIKE_THE_REFERENCE = "IsoglotScoreShift"
"""May fire, and is right: the demo corpus is not what the bundle's reference was made from."""

EMPTY: dict[str, str] = {
    "isoglot_http_errors": "no request failed",
    'job="qdrant"': "the embedded store is in use",
    "isoglot_encoder_queue_wait": "queries that come again are in the cache, and wait for nothing",
    "isoglot_encoder_batch_tokens": "passes are reported without tokens",
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
    """

    second: float
    alert: str
    state: str
    relation: str
    summary: str


def main() -> None:
    """Run both parts, report, and exit with 1 unless all is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=int, default=180, help="of each part")
    parser.add_argument("--rate", type=float, default=5.0, help="searches a second")
    parser.add_argument("--fault", default="over-confidence")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    program = shutil.which("prometheus")
    if program is None:
        sys.exit("prometheus is missing: apt-get install prometheus")
    with tempfile.TemporaryDirectory(prefix="isoglot-watch-") as scratch:
        problems = _watch(Path(scratch), program, options)
    for problem in problems:
        print(f"FAILED: {problem}")  # noqa: T201
    sys.exit(1 if problems else 0)


def _watch(scratch: Path, program: str, options: argparse.Namespace) -> list[str]:
    ports = free_ports(2)
    target = f"127.0.0.1:{ports[0]}"
    (scratch / "prometheus").mkdir()
    with (
        _service(scratch, ports[0]),
        PrometheusServer(
            program, scratch / "prometheus", port=ports[1], target=target
        ) as prometheus,
    ):
        prometheus.wait_for_scrape()
        _say(f"healthy traffic, {options.seconds} seconds")
        healthy = _replay(prometheus, target, options, fault="none")
        asked, silent = _ask_dashboards(prometheus)
        _say(f"{options.fault} planted, {options.seconds} seconds at most")
        faulty = _replay(prometheus, target, options, fault=options.fault)
        return _judge(healthy, faulty, asked, silent, prometheus.unhealthy_rules())


def _judge(
    healthy: Sequence[Seen], faulty: Sequence[Seen], asked: int, silent: Sequence[str],
    unhealthy: Sequence[str],
) -> list[str]:  # fmt: skip
    problems = [
        f"{seen.alert} fired on healthy traffic"
        for seen in _firing(healthy)
        if seen.alert != UNLIKE_THE_REFERENCE
    ]
    states = {seen.state for seen in faulty if seen.alert == ALERT}
    if states != {"pending", "firing"}:
        problems.append(f"{ALERT} must be pending, then firing; it was {sorted(states)}")
    problems += [f"no data: {query}" for query in silent]
    problems += [f"a rule cannot be evaluated: {reason}" for reason in unhealthy]
    problems += [f"annotation: {s.summary}" for s in faulty if "error" in s.summary]
    _say(f"{asked} queries of dashboards asked, {len(silent)} without data")
    return problems


def _replay(
    prometheus: PrometheusServer, target: str, options: argparse.Namespace, *, fault: str
) -> list[Seen]:
    """Send traffic and watch alerts until it ends, or until the alert of the fault fires."""
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
            if fault != "none" and any(s.alert == ALERT for s in _firing(seen.values())):
                replaying.send_signal(signal.SIGINT)  # it prints what it sent
                break
            time.sleep(0.5)
        report, _ = replaying.communicate()
    for name, part in json.loads(report).items():
        _say(f"{name}: {part['searches']} searches, {part['accepted']} labels")
        for relation, found in part["relations"].items():
            _say(
                f"  {relation:5} {found['labels']:6.0f} labels, ECE {found['ece']:.4f} "
                f"(chance {found['ece_floor']:.4f}, z {found['ece_z']:.1f}), "
                f"E/O {found['expected_observed']:.3f}"
            )
    return list(seen.values())


def _hear_interrupts() -> None:
    """Undo what shells do to programs in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _ask_dashboards(prometheus: PrometheusServer) -> tuple[int, list[str]]:
    """Ask every query of every dashboard; returns how many, and those without data."""
    calibrator = prometheus.label_values("calibrator", 'isoglot_calibrator_info{role="active"}')[0]
    filled = {
        "$job": "isoglot", "$calibrator": calibrator, "$query_lang": ".*",
        "$__rate_interval": "20s",
    }  # fmt: skip
    asked, silent = 0, []
    for board in dashboards().values():
        for panel in json.loads(board)["panels"]:
            for query in panel.get("targets", []):
                expression = query["expr"]
                for relation in ("same", "cross") if panel.get("repeat") else (".+",):
                    concrete = expression.replace("$relation", relation)
                    for variable, value in filled.items():
                        concrete = concrete.replace(variable, value)
                    asked += 1
                    if not prometheus.query(concrete) and not any(k in concrete for k in EMPTY):
                        silent.append(f"{panel['title']}: {concrete}")
    return asked, silent


def _seen(alert: dict[str, Any], second: float) -> Seen:
    labels = alert["labels"]
    return Seen(
        second=second,
        alert=labels["alertname"],
        state=alert["state"],
        relation=labels.get("relation", ""),
        summary=alert["annotations"]["summary"],
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
