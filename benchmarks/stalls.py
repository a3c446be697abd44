"""The longest time for which the event loop stands still, in each phase of a collection's life.

    python -m benchmarks.stalls --passages 30000 --out stalls.json

The embedded engine holds the interpreter's lock for the length of a call, whichever thread makes
it. A heartbeat on the loop asks to wake every two milliseconds; what is stated is how much later
than that it woke, at worst and at the 99th percentile. ``nothing`` is the loop without work: what
the machine itself makes of it.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from pathlib import Path

from app.adapters.qdrant.records import chunks
from app.bootstrap import open_runtime
from app.cli.serve import settle_heap
from app.core.search.types import SearchRequest
from app.environment import load_settings
from benchmarks import corpus
from benchmarks.service import FILTER_FIELDS, build_index, index, write_json

_BEAT = 0.002
_BATCH = 256

Stalls = dict[str, dict[str, float]]


@asynccontextmanager
async def watched(phase: str, found: Stalls) -> AsyncIterator[None]:
    """Note how late the heartbeat was while the block ran."""
    late: list[float] = []

    async def beat() -> None:
        while True:
            due = time.perf_counter() + _BEAT
            await asyncio.sleep(_BEAT)
            late.append(time.perf_counter() - due)

    heart = asyncio.create_task(beat())
    await asyncio.sleep(0)
    began = time.perf_counter()
    try:
        yield
        await asyncio.sleep(2 * _BEAT)  # so that a stall at the end is met
    finally:
        heart.cancel()
        with suppress(asyncio.CancelledError):
            await heart
    late.sort()
    found[phase] = {
        "seconds": round(time.perf_counter() - began, 2),
        "worst_ms": round(late[-1] * 1e3, 1),
        "p99_ms": round(late[int(0.99 * len(late))] * 1e3, 1),
    }


async def measure(data: Path, given: argparse.Namespace) -> Stalls:
    """Go through the phases."""
    found: Stalls = {}
    settings = load_settings(data_dir=data, filter_fields=FILTER_FIELDS)
    more = list(islice(corpus.passages(given.passages + given.more), given.passages, None))
    queries = corpus.queries(500)
    opening = open_runtime(settings)
    async with watched("nothing", found):
        await asyncio.sleep(2)
    async with watched("open", found):
        runtime = await opening.__aenter__()
        settle_heap()  # as the service does
    try:
        async with watched("search", found):
            for text in queries:
                await runtime.search.search(SearchRequest(text))
        async with watched("write, synced each time", found):
            for batch in chunks(more[: given.more // 2], _BATCH):
                await runtime.ingest.add(batch, durable=True)
        async with watched("write, synced now and then", found):
            for batch in chunks(more[given.more // 2 :], _BATCH):
                await runtime.ingest.add(batch, durable=False)
        async with watched("build the index and change over", found):
            await build_index(runtime.store)
    finally:
        async with watched("close", found):
            await opening.__aexit__(None, None, None)
    return found


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--passages", type=int, default=30_000)
    parser.add_argument("--more", type=int, default=4096, help="written while it is watched")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        index(Path(scratch), given.passages, build=False)
        write_json(given.out, asyncio.run(measure(Path(scratch), given)))


if __name__ == "__main__":
    main()
