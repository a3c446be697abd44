"""Does anything grow while a service runs for long? Everything it can do, at a low rate.

    .venv/bin/python -m benchmarks.soak --minutes 30 --svg soak.svg

Searches come at a fixed rate, by default half of what the service answers to ``CALLERS`` callers
without a pause, which is measured first; beside them passages are added, replaced and removed,
hits are judged, and another bundle is loaded once a minute. Every ten seconds memory, open files
and threads of the service are noted. Growth is Theil and Sen's slope over what was noted in the
second half, with its 95 % interval (Sen 1968). It fails at an answer that is no success, at
passages that are not what was acknowledged, and where memory grows by more than ``--bound`` MiB an
hour, or files or threads grow at all, for certain.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

import httpx
import numpy as np

from app.core.bundle import MANIFEST_FILE, load_bundle, write_manifest
from app.settings import starter_bundle
from benchmarks import corpus
from benchmarks.service import memory_mib, serving, write_json
from benchmarks.soak_plot import plot

NOTE_SECONDS = 10.0
RELOAD_SECONDS = 60.0
BATCH = 20
LEAST_MINUTES = 4
CALLERS = 16
SATURATION_SECONDS = 20.0
OPTIONS: tuple[dict[str, object], ...] = (
    {},
    {"limit": 20, "offset": 20},
    {"filter": {"must": [{"key": "shelf", "match": {"value": 3}}]}},
    {"explain": "full", "include": ["text", "highlights"]},
    {"language": {"mode": "prefer", "prefer": {"de": 0.8, "*": 0.2}}},
)
"""What the searches ask for, in turn."""

KEPT_BATCHES = 30
"""Batches that are stored at a time, besides the passages that stay."""

_NORMAL_95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Note:
    """The state of the service at one time.

    Attributes:
        minutes: Since the beginning.
        rss: Resident memory, MiB.
        anonymous: That of it which no file stands behind, MiB.
        files: Open file descriptors.
        threads: Threads.
        p50: Median of the searches answered since the note before, milliseconds.
        p99: Their 99th percentile.
    """

    minutes: float
    rss: float
    anonymous: float
    files: int
    threads: int
    p50: float
    p99: float


@dataclass(slots=True)
class Seen:
    """What came back: answers by kind, and what was noted."""

    answers: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    notes: list[Note] = field(default_factory=list)
    late: int = 0


class Soak:
    """The traffic.

    Args:
        client: Speaks to the service.
        pid: Process id of the service.
        bundles: Loaded in turn.
        rate: Searches a second.
    """

    def __init__(
        self, client: httpx.AsyncClient, pid: int, bundles: list[Path], rate: float
    ) -> None:
        self.seen = Seen()
        self._client, self._pid, self._bundles, self._rate = client, pid, bundles, rate
        self._over = asyncio.Event()
        self._began = time.perf_counter()

    async def run(self, minutes: float) -> Seen:
        """Send everything for so long; returns once the last answer is there."""
        parts = (self._search, self._write, self._judge, self._reload, self._note)
        async with asyncio.TaskGroup() as running:
            for part in parts:
                running.create_task(part())
            await asyncio.sleep(minutes * 60)
            self._over.set()
        return self.seen

    async def _pause(self, seconds: float) -> bool:
        """Wait; returns whether to go on."""
        try:
            await asyncio.wait_for(self._over.wait(), max(seconds, 1e-4))
        except TimeoutError:
            return True
        return False

    async def _send(self, kind: str, method: str, path: str, body: object) -> dict[str, Any] | None:
        try:
            answer = await self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            self.seen.answers[f"{kind} {type(error).__name__}"] += 1
            return None
        self.seen.answers[f"{kind} {answer.status_code}"] += 1
        if not answer.is_success:
            return None
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    async def _search(self) -> None:
        async with asyncio.TaskGroup() as under_way:
            due = time.perf_counter()
            for body in searches():
                under_way.create_task(self._one_search(body, due))
                due += 1 / self._rate
                pause = due - time.perf_counter()
                self.seen.late += pause < -1
                if not await self._pause(pause):
                    return

    async def _one_search(self, body: dict[str, object], due: float) -> None:
        found = await self._send("search", "POST", "/search", body)
        self.seen.seconds.append(time.perf_counter() - due)
        if found is not None and len(self.seen.tokens) < 100:
            self.seen.tokens += [hit["feedback_token"] for hit in found["hits"][:2]]

    async def _write(self) -> None:
        """Add a batch, replace one, and remove the oldest, so that the number stays the same."""
        for number in itertools.count():
            rows = [self._row(number, n, "new") for n in range(BATCH)]
            if await self._send("write", "POST", "/v1/passages", rows) is not None:
                self.seen.stored |= {str(row["id"]) for row in rows}
            again = [
                self._row(number - KEPT_BATCHES // 2, n, f"again {number}") for n in range(BATCH)
            ]
            again = [row for row in again if row["id"] in self.seen.stored]
            if again:
                await self._send("replace", "POST", "/v1/passages", again)
            for n in range(BATCH if number >= KEPT_BATCHES else 0):
                passage_id = f"soak-{number - KEPT_BATCHES}-{n}"
                if passage_id in self.seen.stored:
                    await self._send("delete", "DELETE", f"/v1/passages/{passage_id}", None)
                    self.seen.stored.discard(passage_id)
            if not await self._pause(1.0):
                return

    @staticmethod
    def _row(number: int, n: int, word: str) -> dict[str, object]:
        text = f"bread number {number}.{n} {word}"
        return {"id": f"soak-{number}-{n}", "text": text, "language": "en"}

    async def _judge(self) -> None:
        while await self._pause(1.0):
            if self.seen.tokens:
                token = self.seen.tokens.pop(0)
                body = {"token": token, "relevant": True}
                await self._send("feedback", "POST", "/v1/feedback", body)

    async def _reload(self) -> None:
        for bundle in itertools.cycle(self._bundles):
            if not await self._pause(RELOAD_SECONDS):
                return
            await self._send("reload", "POST", "/v1/bundle:load", {"directory": str(bundle)})

    async def _note(self) -> None:
        while await self._pause(NOTE_SECONDS):
            memory = memory_mib(self._pid)
            process = Path(f"/proc/{self._pid}")
            taken, self.seen.seconds = self.seen.seconds, []
            p50, p99 = np.percentile(np.array(taken or [0.0]) * 1e3, [50, 99])
            self.seen.notes.append(
                Note(
                    minutes=round((time.perf_counter() - self._began) / 60, 3),
                    rss=memory["now"],
                    anonymous=memory["without_files"],
                    files=len(list((process / "fd").iterdir())),
                    threads=len(list((process / "task").iterdir())),
                    p50=round(float(p50), 2),
                    p99=round(float(p99), 2),
                )
            )


def searches() -> Iterator[dict[str, object]]:
    """Yield searches without an end."""
    for query, options in zip(
        itertools.cycle(corpus.queries(2_000)), itertools.cycle(OPTIONS), strict=False
    ):
        yield {"query": query, **options}


async def saturation(client: httpx.AsyncClient) -> float:
    """Return how many searches a second are answered to callers that never pause."""
    bodies, answered = searches(), 0
    over = time.perf_counter() + SATURATION_SECONDS

    async def call() -> None:
        nonlocal answered
        while time.perf_counter() < over:
            (await client.post("/search", json=next(bodies))).raise_for_status()
            answered += 1

    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            callers.create_task(call())
    return answered / SATURATION_SECONDS


def growth(minutes: list[float], values: list[float]) -> dict[str, float]:
    """Return Theil and Sen's slope per hour with its 95 % interval.

    The interval is Sen's, from the variance of Kendall's statistic without ties. It takes notes as
    independent; they are medians of a minute, so that this is not far off.
    """
    n = len(values)
    slopes = sorted(
        (values[b] - values[a]) / (minutes[b] - minutes[a]) * 60
        for a, b in itertools.combinations(range(n), 2)
    )
    width = _NORMAL_95 * (n * (n - 1) * (2 * n + 5) / 18) ** 0.5
    low = max(0, int((len(slopes) - width) / 2))
    high = min(len(slopes) - 1, int((len(slopes) + width) / 2))
    return {
        "an_hour": round(median(slopes), 2),
        "low": round(slopes[low], 2),
        "high": round(slopes[high], 2),
    }


def by_minute(notes: list[Note], name: str) -> tuple[list[float], list[float]]:
    """Return the minutes of the second half, and the median of an attribute in each."""
    begin = notes[-1].minutes / 2
    groups: dict[int, list[float]] = {}
    for note in notes:
        if note.minutes >= begin:
            groups.setdefault(int(note.minutes), []).append(getattr(note, name))
    return [float(minute) for minute in groups], [median(group) for group in groups.values()]


def second_bundle(source: Path, directory: Path) -> Path:
    """Copy a bundle under another name: the same encoder and calibrator, another id."""
    bundle = load_bundle(source)
    shutil.copytree(source, directory)
    (directory / MANIFEST_FILE).unlink()
    write_manifest(
        directory,
        name="second",
        encoder=bundle.spec,
        onnx=bundle.manifest.onnx,
        training=bundle.manifest.training,
    )
    return directory


async def measure(
    url: str, pid: int, bundles: list[Path], given: argparse.Namespace
) -> dict[str, Any]:
    """Run the traffic; returns what was found."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        rows = [
            {"id": p.id, "text": p.text, "language": p.language, "metadata": p.metadata}
            for p in corpus.passages(given.passages)
        ]
        lines = "\n".join(json.dumps(row) for row in rows).encode()
        kind = {"Content-Type": "application/x-ndjson"}
        (await client.post("/v1/passages", content=lines, headers=kind)).raise_for_status()
        most = await saturation(client)
        rate = given.rate or most / 2
        print(f"saturation {most:.1f} a second, rate {rate:.1f}", file=sys.stderr, flush=True)
        seen = await Soak(client, pid, bundles, rate).run(given.minutes)
        counted = (await client.post("/v1/passages:count", json={})).json()["count"]
    names = ("rss", "anonymous", "files", "threads", "p50", "p99")
    return {
        "minutes": given.minutes,
        "saturation": round(most, 1),
        "rate": round(rate, 1),
        "answers": dict(sorted(seen.answers.items())),
        "late": seen.late,
        "passages": {"counted": counted, "acknowledged": given.passages + len(seen.stored)},
        "growth": {name: growth(*by_minute(seen.notes, name)) for name in names},
        "notes": [asdict(note) for note in seen.notes],
    }


def problems(found: dict[str, Any], bound: float) -> list[str]:
    """Return what is wrong."""
    wrong = [
        f"{n} × {what}"
        for what, n in found["answers"].items()
        if what.split()[-1] not in {"200", "204"}
    ]
    if found["passages"]["counted"] != found["passages"]["acknowledged"]:
        wrong.append(f"passages: {found['passages']}")
    for name, limit in (("anonymous", bound), ("files", 0.0), ("threads", 0.0)):
        if found["growth"][name]["low"] > limit:
            wrong.append(f"{name} grows: {found['growth'][name]}")
    return wrong


def main() -> None:
    """Run, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, help="searches a second; half of saturation")
    parser.add_argument("--passages", type=int, default=5_000, help="that stay all along")
    parser.add_argument("--bound", type=float, default=10.0, help="MiB an hour that may grow")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--svg", type=Path)
    given = parser.parse_args()
    if given.minutes < LEAST_MINUTES:
        parser.error(f"a slope needs at least {LEAST_MINUTES} minutes")
    with tempfile.TemporaryDirectory(prefix="isoglot-soak-") as scratch:
        root, first = Path(scratch), starter_bundle().resolve()
        bundles = [second_bundle(first, root / "second"), first]
        with serving(root / "data") as (url, pid):
            found = asyncio.run(measure(url, pid, bundles, given))
    write_json(given.out, found)
    if given.svg is not None:
        given.svg.write_text(plot(found["notes"]), encoding="utf-8")
    wrong = problems(found, given.bound)
    print("\n".join(wrong) or "nothing wrong", file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
