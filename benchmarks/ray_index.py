"""Indexes the same passages in one process and on a Ray cluster that loses a worker on the way.

    python -m benchmarks.ray_index --passages 100000    # or: make check-ray

The demo corpus and generated passages are indexed by `isoglot index`, and by `isoglot index --ray
local --workers 2`, of whose workers one is killed with SIGKILL in the middle. Checked: both
collections hold the same passages with the same languages, metadata and content hashes, and answer
every question of the demo with the same hits and the same scores. Then the second command runs
again, and stores nothing anew. Printed: passages per second of each. Exit code 1: a difference.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from app.bootstrap import Runtime, open_runtime
from app.cli.demonstration.data import demo_directory, load_corpus
from app.core.search.types import SearchRequest
from app.core.types import Passage
from app.environment import load_settings

WORKER = b"RangeIndexer"
WORKERS = 2
SECONDS_BEFORE_KILL = 4.0
SCORE_TOLERANCE = 1e-6


def write_passages(path: Path, count: int) -> None:
    """Sentences of the demo corpus, put together anew: real words in eleven languages."""
    corpus = load_corpus(demo_directory()).passages
    draw = random.Random(0)
    by_language: dict[str, list[str]] = {}
    for passage in corpus:
        by_language.setdefault(passage.language, []).extend(passage.text.split(". "))
    languages = sorted(by_language)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            language = draw.choice(languages)
            text = ". ".join(draw.sample(by_language[language], 3)) + f" ({number})"
            # Every other language is left for the service to identify.
            stated = {"language": language} if number % 2 else {}
            line = {"id": f"g{number}", "text": text, "metadata": {"number": number}, **stated}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def index(files: Sequence[Path], data_dir: Path, *options: str, kill: bool = False) -> float:
    """Run the command; returns how many seconds it took."""
    words = [sys.executable, "-c", "from app.cli import main; main()", "index"]
    words += [*map(str, files), "--data-dir", str(data_dir), *options]
    began = time.perf_counter()
    with subprocess.Popen(words) as process:
        if kill:
            print(f"killed the worker {kill_a_worker(process.pid)}", flush=True)
        if process.wait() != 0:
            sys.exit(f"isoglot index ended with {process.returncode}")
    return time.perf_counter() - began


def kill_a_worker(parent: int) -> int:
    """Kill one of the workers once both have been at work for a while; returns its process id."""
    deadline = time.monotonic() + 300
    while len(found := workers_of(parent)) < WORKERS:
        if time.monotonic() > deadline:
            sys.exit("the workers did not come up")
        time.sleep(0.2)
    time.sleep(SECONDS_BEFORE_KILL)
    os.kill(found[0], signal.SIGKILL)
    return found[0]


def workers_of(parent: int) -> list[int]:
    """Return the processes that index below another one."""
    below = {parent}
    found = []
    for directory in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        with suppress(OSError):
            _, _, rest = (directory / "stat").read_text().rpartition(") ")
            if int(rest.split()[1]) in below:
                below.add(int(directory.name))
                if WORKER in (directory / "cmdline").read_bytes():
                    found.append(int(directory.name))
    return found


async def contents(runtime: Runtime) -> dict[str, tuple[Passage, str]]:
    """Return every passage with its content hash."""
    found: dict[str, tuple[Passage, str]] = {}
    after = None
    while page := await runtime.store.scan(limit=1000, after=after):
        after = page[-1].id
        hashes = await runtime.store.content_hashes([passage.id for passage in page])
        found |= {passage.id: (passage, hashes[passage.id]) for passage in page}
    return found


async def compare(one: Path, other: Path) -> list[str]:
    """Return what differs between two data directories."""
    queries = load_corpus(demo_directory()).queries
    differences = []
    async with (
        open_runtime(load_settings(data_dir=one)) as first,
        open_runtime(load_settings(data_dir=other)) as second,
    ):
        left, right = await contents(first), await contents(second)
        print(f"{len(left)} and {len(right)} passages")
        if left != right:
            differences.append("the passages differ")
        for query in queries:
            request = SearchRequest(query.text, limit=20)
            expected = await first.search.search(request)
            found = await second.search.search(request)
            ids = [[hit.passage.id for hit in answer.hits] for answer in (expected, found)]
            gaps = [abs(a.score - b.score) for a, b in zip(expected.hits, found.hits, strict=True)]
            if ids[0] != ids[1] or max(gaps, default=0.0) > SCORE_TOLERANCE:
                differences.append(f"the answers to {query.id} differ")
    print(f"{len(queries)} questions asked of both")
    return differences


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=100_000)
    count = parser.parse_args().passages
    os.environ["ISOGLOT_ENCODER_THREADS"] = "1"
    # Ray lets its workers step back behind everything else, which is not what is compared here.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  its name in Ray
    with tempfile.TemporaryDirectory(prefix="isoglot-ray-") as scratch:
        root = Path(scratch)
        generated = root / "generated.jsonl"
        write_passages(generated, count)
        files = [demo_directory() / "passages.jsonl", generated]
        ray = ("--ray", "local", "--workers", str(WORKERS))
        for name, seconds in {
            "one process": index(files, root / "one"),
            "two workers of Ray, one killed": index(files, root / "ray", *ray, kill=True),
            "the same again, nothing new": index(files, root / "ray", *ray),
        }.items():
            print(f"{name}: {seconds:.1f} s, {count / seconds:.0f} passages/s with start and end")
        differences = asyncio.run(compare(root / "one", root / "ray"))
    for difference in differences:
        print(difference)
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
