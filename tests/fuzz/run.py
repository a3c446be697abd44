"""Sends generated requests to a running service: ``python -m tests.fuzz.run``.

schemathesis derives requests, valid and invalid ones, from ``/openapi.json`` and compares every
response with it: status, media type, headers, body. Each run has a service of its own, with a tiny
bundle, the demo corpus and a new data directory:

    open      no key file
    key       a key with every scope
    tenant    a key of a tenant
    refused   a key file, and no key

What the service itself says is checked too: it logged no unhandled error, and counted without key
no answer but that of public routes. Ends with code 1 where something was found, or too little sent.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from app.api.access import POLICY, PUBLIC
from tests.app.api.keys import add_key, bearer
from tests.bundles import write_tiny_bundle

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
CORPUS = ROOT / "demo" / "passages.jsonl"
FIELDS = "source:keyword,page:integer"
LOG = "service.log"
START_SECONDS = 120.0

EVERY_SCOPE = ("search", "ingest", "feedback", "admin", "metrics")
RUNS: dict[str, tuple[str, ...] | None] = {
    "open": None,
    "key": EVERY_SCOPE,
    "tenant": ("search", "ingest", "feedback"),
    "refused": (),
}
"""Run to the scopes of its key; none of them: no key is shown; ``None``: there is no key file."""

Answered = Counter[tuple[str, str, str]]
"""Requests by route, method and class of the status, such as ``2xx``."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run.

    Attributes:
        run: Its name.
        generated: Test cases that schemathesis generated.
        answered: Requests that the service counted.
        findings: What is wrong; empty where nothing is.
    """

    run: str
    generated: int
    answered: Answered
    findings: Sequence[str]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=100, help="most cases an operation")
    parser.add_argument("--least", type=int, default=5000, help="requests that must be answered")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    options = parser.parse_args()
    reports = [fuzz(run, examples=options.examples, seed=options.seed) for run in options.runs]
    for report in reports:
        _say(_line(report.run, report.generated, report.answered))
        for finding in report.findings:
            _say(f"  {finding}")
    total = sum((report.answered for report in reports), start=Answered())
    _say(_line("total", sum(report.generated for report in reports), total))
    if total.total() < options.least:
        _say(f"These are too few; {options.least} are needed. Raise --examples.")
    is_clean = not any(report.findings for report in reports)
    sys.exit(0 if is_clean and total.total() >= options.least else 1)


def fuzz(run: str, *, examples: int, seed: int) -> Report:
    """Run schemathesis against a service of its own.

    Args:
        run: A name of ``RUNS``.
        examples: Most test cases that are generated for an operation, in each phase.
        seed: The same seed generates the same requests.
    """
    with tempfile.TemporaryDirectory(prefix="isoglot-fuzz-") as directory:
        work = Path(directory)
        operator, headers = _make_keys(work, RUNS[run])
        with _service(work, keyed=RUNS[run] is not None) as (url, process):
            _fill(url, headers or operator)
            before = _answered(url, operator)
            before["/metrics", "GET", "2xx"] += 1  # counts itself only once it is answered
            findings, generated = _run_schemathesis(work, url, headers, examples, seed)
            if process.poll() is not None:
                return Report(run, generated, Answered(), [*findings, "The service has ended."])
            answered = _answered(url, operator) - before
            unhandled = (work / LOG).read_text(encoding="utf-8").count("unhandled_error")
    if unhandled:
        findings.append(f"The service logged {unhandled} unhandled errors.")
    return Report(run, generated, answered, [*findings, *_wrong(run, answered)])


def _make_keys(work: Path, scopes: tuple[str, ...] | None) -> tuple[dict[str, str], dict[str, str]]:
    """Return the headers of the operator, and those of the generated requests."""
    if scopes is None:
        return {}, {}
    keys = work / "keys.json"
    operator = bearer(add_key(keys, *EVERY_SCOPE))
    if not scopes:
        return operator, {}
    tenant = {} if scopes == EVERY_SCOPE else {"tenant": "acme"}
    return operator, bearer(add_key(keys, *scopes, **tenant))


@contextmanager
def _service(work: Path, *, keyed: bool) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a service; yields its address and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "ISOGLOT_BUNDLE": str(write_tiny_bundle(work / "bundle")),
        "ISOGLOT_DATA_DIR": str(work / "data"),
        "ISOGLOT_FILTER_FIELDS": FIELDS,
        "ISOGLOT_LOG_LEVEL": "error",
        # Hybrid retrieval is refused where words are not indexed: both are looked at.
        "ISOGLOT_HYBRID": str(keyed),
        **({"ISOGLOT_KEY_FILE": str(work / "keys.json")} if keyed else {}),
    }
    command = [sys.executable, "-c", "from app.cli import main; main()"]
    with (work / LOG).open("wb") as log:
        process = subprocess.Popen(
            [*command, "serve", "--port", str(port)],
            env=_environment(settings),
            cwd=work,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url, process, work / LOG)
        yield url, process
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"The service could not start:\n{log.read_text(encoding='utf-8')}")
        try:
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("The service is not ready.")


def _fill(url: str, headers: dict[str, str]) -> None:
    upload = {**headers, "Content-Type": "application/x-ndjson"}
    content = CORPUS.read_bytes()
    httpx.post(
        f"{url}/v1/passages?wait=false", content=content, headers=upload, timeout=300
    ).raise_for_status()


def _run_schemathesis(
    work: Path, url: str, headers: dict[str, str], examples: int, seed: int
) -> tuple[list[str], int]:
    """Return what was found, and how many test cases were generated."""
    shown = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    report, described = work / "report.json", work / "openapi.json"
    # Writing the description takes the service a while, the first time.
    described.write_bytes(httpx.get(f"{url}/openapi.json", timeout=120).content)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
            *("run", str(described), "--url", url, *shown),
            *("--max-examples", str(examples), "--seed", str(seed), "--no-color"),
            *("--report", "json", "--report-json-path", str(report)),
        ],
        cwd=work,
        env=_environment({}),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    generated = 0
    if report.exists():
        generated = json.loads(report.read_text(encoding="utf-8"))["test_cases"]["generated"]
    if done.returncode:
        _say(done.stdout)
        return [f"schemathesis ended with code {done.returncode}; see above."], generated
    return [], generated


def _answered(url: str, headers: dict[str, str]) -> Answered:
    """Return what the service has counted so far."""
    exposition = httpx.get(f"{url}/metrics", headers=headers, timeout=60).raise_for_status().text
    counted = Answered()
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == "isoglot_http_requests_total":
                labels = sample.labels
                key = (labels["route"], labels["method"], labels["status"])
                counted[key] = int(sample.value)
    return counted


def _wrong(run: str, answered: Answered) -> Iterator[str]:
    public = {path for (_, path), scope in POLICY.items() if scope == PUBLIC}
    for (route, method, status), count in sorted(answered.items()):
        if run == "refused" and status[0] in "23" and route not in public:
            yield f"{method} {route} was answered with {status} {count} times, without a key."


def _environment(settings: dict[str, str]) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if "ISOGLOT" not in name}
    return {**clean, **settings, "PYTHONPATH": str(ROOT)}


def _line(name: str, generated: int, answered: Answered) -> str:
    statuses: Counter[str] = Counter()
    for (_, _, status), count in answered.items():
        statuses[status] += count
    shown = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    return f"{name:8} {generated} cases, {answered.total()} requests: {shown}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
