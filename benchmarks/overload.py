"""Liveness while passages are ingested and searched, and what happens above saturation.

    python -m benchmarks.overload --out overload.json

First 10,000 passages are streamed in while 50 searches a second come at fixed times and
``/health/live`` is asked 20 times a second. Then the rate that the service can bear is measured,
and searches come at that rate and at three times that rate. Every latency counts from the time at
which its request was due, the load generator's own delays included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks import corpus
from benchmarks.load import closed_loop, get, open_loop, post
from benchmarks.service import index, serving, write_json

_SEARCHES_A_SECOND = 50
_PROBES_A_SECOND = 20


def upload(url: str, path: Path) -> dict[str, int]:
    """Stream a file into the service; returns its summary."""
    request = urllib.request.Request(
        f"{url}/v1/passages", path.read_bytes(), {"Content-Type": "application/x-ndjson"}
    )
    with urllib.request.urlopen(request) as answer:
        summary: dict[str, int] = json.loads(answer.read().splitlines()[-1])["summary"]
    return summary


async def while_ingesting(url: str, path: Path, searches: list[bytes]) -> dict[str, Any]:
    """Ingest, search and probe at the same time."""
    running = asyncio.create_task(asyncio.to_thread(upload, url, path))
    probes, answers = [], []
    while not running.done():
        probe, found = await asyncio.gather(
            open_loop(url, [get(f"{url}/health/live")], rate=_PROBES_A_SECOND, seconds=3),
            open_loop(url, searches, rate=_SEARCHES_A_SECOND, seconds=3),
        )
        probes.append(probe)
        answers.append(found)
    for outcomes in (probes, answers):
        for later in outcomes[1:]:
            outcomes[0].latency += later.latency
            outcomes[0].statuses += later.statuses
            outcomes[0].seconds += later.seconds
    return {
        "stored": running.result(),
        "live": probes[0].facts(),
        "search": answers[0].facts(),
    }


async def overloaded(url: str, searches: list[bytes], seconds: float) -> dict[str, Any]:
    """Search at the rate that can be borne, and at three times that rate."""
    bearable = await closed_loop(url, searches, connections=32, seconds=seconds)
    found: dict[str, Any] = {"saturation": bearable.facts()}
    p50 = bearable.quantile(0.5)
    for times in (1, 3):
        outcome = await open_loop(url, searches, rate=times * bearable.rate, seconds=seconds)
        found[f"at_{times}"] = {**outcome.facts(), "with_retry_after": outcome.retry_after}
        found[f"p50_at_{times}_to_saturation"] = round(outcome.quantile(0.5) / p50, 2)
    return found


def measure(work: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Measure both."""
    data, lines = work / "overload", work / "more.jsonl"
    index(data, given.passages)
    corpus.write(lines, given.passages + 10_000)
    kept = lines.read_text(encoding="utf-8").splitlines(keepends=True)[given.passages :]
    lines.write_text("".join(kept), encoding="utf-8")
    with serving(data) as (url, _):
        searches = [post(f"{url}/search", {"query": text}) for text in corpus.queries(20_000)]
        return {
            "passages": given.passages,
            "while_ingesting": asyncio.run(while_ingesting(url, lines, searches)),
            "overload": asyncio.run(overloaded(url, searches[10_000:], given.seconds)),
        }


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        write_json(given.out, measure(Path(scratch), given))


if __name__ == "__main__":
    main()
