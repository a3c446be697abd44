"""Does anybody notice a reindexing? Searches and writes at a fixed rate while it goes on.

    .venv/bin/python -m benchmarks.reindex_under_load --passages 2000 --rate 50

Starts a service on the starter bundle, and lets it reindex to a second bundle (the same encoder
with another query prefix, so another fingerprint and other scores), back, and there again, while
searches come at a fixed rate whether the ones before have been answered or not. Every answer must
be one of the two bundles as a whole: its id, its encoder, its calibrator and the score that this
encoder gives. Every acknowledged write must be there at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.core.bundle import CALIBRATOR_FILE, MANIFEST_FILE, load_bundle, write_manifest
from app.core.calibration.document import dump_calibrator
from app.settings import starter_bundle
from tests.faults.service import Service

QUERY = "How do I repair the wheel of a bicycle?"


@dataclass(slots=True)
class Seen:
    """What came back."""

    statuses: Counter[int | str] = field(default_factory=Counter)
    models: Counter[tuple[str, str, str, float]] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    late: int = 0
    written: list[str] = field(default_factory=list)


def derive_bundle(source: Path, directory: Path, *, prefix: str) -> Path:
    """Copy a bundle and give its encoder another query prefix."""
    bundle = load_bundle(source)
    shutil.copytree(source, directory)
    (directory / MANIFEST_FILE).unlink()
    spec = replace(bundle.spec, query_prefix=prefix)
    document = json.loads((directory / CALIBRATOR_FILE).read_text(encoding="utf-8"))
    document.pop("id")
    document["encoder"]["fingerprint"] = spec.fingerprint()
    (directory / CALIBRATOR_FILE).write_text(dump_calibrator(document), encoding="utf-8")
    write_manifest(
        directory,
        name="derived",
        encoder=spec,
        onnx=bundle.manifest.onnx,
        training=bundle.manifest.training,
    )
    return directory


async def ask(client: httpx.AsyncClient, seen: Seen) -> None:
    """Search once, and note what came back."""
    began = time.perf_counter()
    try:
        answer = await client.post("/search", json={"query": QUERY, "limit": 1, "candidates": 100})
    except httpx.HTTPError as error:
        seen.statuses[type(error).__name__] += 1
        return
    seen.seconds.append(time.perf_counter() - began)
    seen.statuses[answer.status_code] += 1
    if answer.status_code == httpx.codes.OK:
        body = answer.json()
        model = body["model"]
        score = round(body["hits"][0]["score"], 3)
        seen.models[model["bundle"], model["encoder"], model["calibrator"], score] += 1


async def search_all_along(
    client: httpx.AsyncClient, seen: Seen, *, rate: float, over: asyncio.Event
) -> None:
    """Send searches at a fixed rate, whether the ones before have been answered or not."""
    due, under_way = time.perf_counter(), set()
    while not over.is_set():
        task = asyncio.create_task(ask(client, seen))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        due += 1 / rate
        pause = due - time.perf_counter()
        seen.late += pause < -0.1
        await asyncio.sleep(max(0.0, pause))
    await asyncio.gather(*under_way)


async def write_all_along(client: httpx.AsyncClient, seen: Seen, over: asyncio.Event) -> None:
    """Store one new passage after the other, and note those that are acknowledged."""
    number = 0
    while not over.is_set():
        number += 1
        passage = {"id": f"written-{number}", "text": f"bread number {number}", "language": "en"}
        answer = await client.post("/v1/passages", json=[passage])
        seen.statuses[f"write {answer.status_code}"] += 1
        if answer.is_success:
            seen.written.append(str(passage["id"]))
        await asyncio.sleep(0.1)


async def reindex(client: httpx.AsyncClient, bundle: Path) -> dict[str, Any]:
    """Reindex, and return how it ended and how long it took."""
    began = time.perf_counter()
    (await client.post("/v1/reindex", json={"directory": str(bundle)})).raise_for_status()
    while True:
        job: dict[str, Any] = (await client.get("/v1/reindex")).raise_for_status().json()
        if job["state"] != "running":
            return {**job, "seconds": round(time.perf_counter() - began, 1)}
        await asyncio.sleep(0.2)


async def missing(client: httpx.AsyncClient, ids: list[str]) -> int:
    """Return how many of these passages are not there."""
    answers = [await client.get(f"/v1/passages/{passage_id}") for passage_id in ids]
    return sum(not answer.is_success for answer in answers)


async def measure(url: str, old: Path, new: Path, *, passages: int, rate: float) -> int:
    """Run, print, and return how many things went wrong."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        lines = [
            json.dumps({"id": f"p{n}", "text": f"{QUERY} part {n}", "language": "en"})
            for n in range(passages)
        ]
        (
            await client.post(
                "/v1/passages",
                content="\n".join(lines).encode(),
                headers={"Content-Type": "application/x-ndjson"},
            )
        ).raise_for_status()
        seen, over = Seen(), asyncio.Event()
        load = [
            asyncio.create_task(search_all_along(client, seen, rate=rate, over=over)),
            asyncio.create_task(write_all_along(client, seen, over)),
        ]
        await asyncio.sleep(2)
        jobs = [await reindex(client, bundle) for bundle in (new, old, new)]
        await asyncio.sleep(2)
        over.set()
        await asyncio.gather(*load)
        lost = await missing(client, seen.written)
    for name, job in zip(("there", "back", "there again"), jobs, strict=True):
        print(
            f"{name}: {job['state']} in {job['seconds']} s, {job['embedded']} of "
            f"{job['passages']} embedded {job['error'] or ''}"
        )
    print("answers:", dict(seen.statuses))
    print("models:", dict(seen.models))
    p50, p99 = np.percentile(np.array(seen.seconds) * 1e3, [50, 99])
    print(f"searches: {len(seen.seconds)}, p50 {p50:.0f} ms, p99 {p99:.0f} ms, late {seen.late}")
    print(f"acknowledged writes: {len(seen.written)}, lost {lost}")
    bad = sum(n for status, n in seen.statuses.items() if status not in {200, "write 200"})
    mixed = max(0, len(seen.models) - 2)
    unfinished = sum(str(job["state"]) != "done" for job in jobs)
    print(f"errors {bad}, mixed kinds of answers {mixed}, unfinished reindexings {unfinished}")
    return int(bad + mixed + lost + unfinished)


def main() -> None:
    """Run with the starter bundle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--passages", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=50.0, help="searches a second")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        old = starter_bundle().resolve()
        new = derive_bundle(old, root / "derived", prefix="query: ")
        with Service(bundle=old, data_dir=root / "data", log=root / "log") as service:
            service.wait_until_ready()
            run = measure(service.url, old, new, passages=asked.passages, rate=asked.rate)
            sys.exit(1 if asyncio.run(run) else 0)


if __name__ == "__main__":
    main()
