"""Starts a service in a process of its own, with passages indexed, and stops it again."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.bootstrap import open_runtime
from app.core.errors import StoreUnavailableError
from app.core.ports import PassageStore
from app.core.types import Passage
from app.environment import load_settings
from benchmarks import corpus

START_SECONDS = 180.0
FILTER_FIELDS = "shelf:integer"
"""Declared from the start: a field that is declared later costs the index, until it is rebuilt."""
_BATCH = 512


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def index(data: Path, count: int, *, bundle: Path | None = None, build: bool = True) -> float:
    """Index passages of ``benchmarks.corpus``, unless that many are there; returns seconds.

    Args:
        data: Data directory.
        count: How many passages.
        bundle: Which bundle; the starter bundle by default.
        build: Whether to build the approximate index, where there is reason to.
    """
    began = time.perf_counter()
    asyncio.run(_index(data, count, bundle, build=build))
    return time.perf_counter() - began


async def _index(data: Path, count: int, bundle: Path | None, *, build: bool) -> None:
    settings = load_settings(data_dir=data, bundle=bundle, filter_fields=FILTER_FIELDS)
    async with open_runtime(settings) as runtime:
        held = (await runtime.store.health()).passages
        batch: list[Passage] = []
        for row in corpus.passages(count) if held < count else ():
            batch.append(row)
            if len(batch) == _BATCH:
                await runtime.ingest.add(batch, durable=False)
                batch = []
        if batch:
            await runtime.ingest.add(batch, durable=False)
        if build:
            await build_index(runtime.store)


async def build_index(store: PassageStore) -> None:
    """Build the index, after a build that began by itself."""
    while True:
        try:
            await store.build()
        except StoreUnavailableError:
            await asyncio.sleep(0.1)
        else:
            return


@contextmanager
def serving(
    data: Path, *, bundle: Path | None = None, **settings: str
) -> Iterator[tuple[str, int]]:
    """Run the service; yields its URL and its process id.

    Args:
        data: Data directory.
        bundle: Which bundle; the starter bundle by default.
        settings: Further settings, by the name of the variable without its prefix.
    """
    port = free_port()
    environment = {
        **os.environ,
        "ISOGLOT_DATA_DIR": str(data),
        "ISOGLOT_LOG_LEVEL": "warning",
        "ISOGLOT_FILTER_FIELDS": FILTER_FIELDS,
        **{f"ISOGLOT_{name}": value for name, value in settings.items()},
    }
    if bundle is not None:
        environment["ISOGLOT_BUNDLE"] = str(bundle)
    code = "from app.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--port", str(port)]
    with process(command, environment, f"http://127.0.0.1:{port}/health/ready") as running:
        yield f"http://127.0.0.1:{port}", running.pid


@contextmanager
def process(
    command: list[str],
    environment: dict[str, str],
    ready: str,
    *,
    patience: float = START_SECONDS,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process until the block is left; it is waited for until ``ready`` answers.

    Raises:
        SystemExit: It ended, or did not answer in time.
    """
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + patience
        while not _answers(ready):
            if running.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command[:4])} did not start.")
            time.sleep(0.1)
        yield running
    finally:
        running.terminate()
        running.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def work_directory(given: Path | None) -> Iterator[Path]:
    """Yield a directory for collections: one that is kept for the next run, or one for this."""
    with tempfile.TemporaryDirectory() as scratch:
        work = given or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        yield work


def measured(
    parser: argparse.ArgumentParser, measure: Callable[[Path, argparse.Namespace], object]
) -> None:
    """Measure what the arguments ask for, print it, and write it down.

    Args:
        parser: Of the arguments; ``--work`` and ``--out`` are added.
        measure: Given a directory for collections, and the arguments.
    """
    parser.add_argument("--work", type=Path, help="keep collections here, for the next run")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with work_directory(given.work) as work:
        write_json(given.out, measure(work, given))


def memory_mib(pid: int) -> dict[str, float]:
    """Return resident memory of a process in MiB: now, its peak, and without mapped files."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    facts = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    names = {"now": "VmRSS", "peak": "VmHWM", "without_files": "RssAnon"}
    return {key: round(int(facts[name].split()[0]) / 1024, 1) for key, name in names.items()}


def write_json(path: Path | None, found: object) -> None:
    """Print what was found, and write it down where that is asked for."""
    text = json.dumps(found, indent=1, ensure_ascii=False)
    print(text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
