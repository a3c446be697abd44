"""How the cost of a search grows with the corpus; start, memory and disk beside it.

    python -m benchmarks.growth --sizes 10000 30000 100000 --work DIR --out growth.json

One service a size, all at once, each with its index; the rounds go from size to size, one
connection. The slope is that of log time against log passages, taken round by round: 0 does not
grow, 0.5 grows like the square root. Recall is that of the engine's ten nearest, as a search asks
for them, against an exact scan of the same vectors.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from app.adapters.disk_room import tree_bytes
from app.environment import load_settings
from benchmarks import corpus
from benchmarks.load import closed_loop, post, spread
from benchmarks.search import Bare, stages
from benchmarks.service import index, measured, memory_mib, serving

_QUERIES = 2000
_RECALL_QUERIES = 200


def slope(times: Mapping[int, Sequence[float]]) -> dict[str, float]:
    """Return the slope of log time against log passages, over the rounds.

    Args:
        times: Number of passages to the time of every round.
    """
    sizes = np.log(list(times))
    rounds = zip(*times.values(), strict=True)
    return spread([float(np.polyfit(sizes, np.log(found), 1)[0]) for found in rounds])


def recall(data: Path, bundle: Path, queries: Sequence[str]) -> float:
    """Return the share of the ten nearest passages that the index finds, on a copy."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy"
        shutil.copytree(data / "passages", copy)
        bare = Bare(copy, bundle, threads=load_settings().encoder_threads)
        found = [len(bare.ask(text) & bare.ask(text, exact=True)) / 10 for text in queries]
        bare.close()
    return round(sum(found) / len(found), 4)


def measure(work: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Measure all sizes."""
    bundle = load_settings().bundle
    queries = corpus.queries(_QUERIES)
    facts: dict[int, dict[str, Any]] = {}
    for size in given.sizes:
        data = work / f"{bundle.name}-{size}"
        index(data, size)
        facts[size] = {"recall_at_10": recall(data, bundle, queries[:_RECALL_QUERIES])}
        facts[size]["disk_mib"] = round(tree_bytes(data / "passages") / 2**20, 1)
    p50: dict[int, list[float]] = {size: [] for size in given.sizes}
    engine: dict[int, list[float]] = {size: [] for size in given.sizes}
    with ExitStack() as stack:
        urls = {}
        for size in given.sizes:
            began = time.perf_counter()
            running = serving(work / f"{bundle.name}-{size}", bundle=bundle)
            urls[size], pid = stack.enter_context(running)
            facts[size]["ready_after_seconds"] = round(time.perf_counter() - began, 1)
            facts[size]["process"] = pid
        for number in range(given.rounds + 1):
            for size, url in urls.items():
                asked = [post(f"{url}/search", {"query": text}) for text in queries]
                found = asyncio.run(closed_loop(url, asked, connections=1, seconds=given.seconds))
                assert set(found.statuses) == {200}, found.statuses
                parts = stages(url, queries[:_RECALL_QUERIES])
                if number:  # the first round warms up
                    p50[size].append(found.quantile(0.5))
                    engine[size].append(parts["search"])
        for found_of in facts.values():
            found_of["memory_mib"] = memory_mib(found_of.pop("process"))
    return {
        "sizes": facts,
        "p50_ms": {size: spread(values) for size, values in p50.items()},
        "engine_ms": {size: spread(values) for size, values in engine.items()},
        "slope_of_p50": slope(p50),
        "slope_of_engine": slope(engine),
    }


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    measured(parser, measure)


if __name__ == "__main__":
    main()
