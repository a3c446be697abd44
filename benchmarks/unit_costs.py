"""What one passage costs: the numbers that docs/scale.md multiplies.

    python -m benchmarks.unit_costs --passages 20000

Times are CPU seconds of this process, all threads together, so that they hold on a busy machine
too; the encoder has one thread. The passages are those of benchmarks/ray_index.py.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from app.adapters.disk_room import tree_bytes
from app.adapters.language_identifier import FastTextIdentifier
from app.bootstrap import open_runtime
from app.cli.demonstration.data import demo_directory, load_corpus
from app.cli.ingest.passages_file import PassageLine, read_passages
from app.core.passages.entries import Document, Entry
from app.core.search.types import SearchRequest
from app.environment import load_settings
from benchmarks.ray_index import write_passages

BATCH = 256

T = TypeVar("T")


def measured(name: str, count: int, work: Callable[[], T]) -> T:
    """Run something, and print its CPU microseconds per item."""
    began = time.process_time()
    result = work()
    seconds = time.process_time() - began
    print(f"{name}: {seconds / count * 1e6:.0f} us, {count / seconds:.0f} a second and core")
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=20_000)
    count = parser.parse_args().passages
    with tempfile.TemporaryDirectory(prefix="isoglot-costs-") as scratch:
        file = Path(scratch) / "passages.jsonl"
        write_passages(file, count)
        print(f"{file.stat().st_size / count:.0f} bytes of JSON a passage")
        lines = measured("read and check", count, lambda: list(read_passages(str(file))))
        entries = [line.entry for line in lines if isinstance(line, PassageLine)]
        texts = [found.text for found in entries if not isinstance(found, Document)]
        identify = FastTextIdentifier().identify
        measured("identify the language", count, lambda: [identify(text) for text in texts])
        with asyncio.Runner() as runner:
            runner.run(_index_and_search(Path(scratch), entries, texts))


async def _index_and_search(scratch: Path, entries: Sequence[Entry], texts: Sequence[str]) -> None:
    settings = load_settings(data_dir=scratch / "data", encoder_threads=1)
    count = len(texts)
    async with open_runtime(settings) as runtime:
        began = time.process_time()
        await runtime.encoder.encode_passages(texts)
        encoding = time.process_time() - began
        print(f"encode: {encoding / count * 1e6:.0f} us, {count / encoding:.0f} a second and core")
        began = time.process_time()
        for at in range(0, count, BATCH):
            await runtime.ingest.add(entries[at : at + BATCH], durable=False)
        indexing = time.process_time() - began
        print(f"index, all of it: {indexing / count * 1e6:.0f} us, {count / indexing:.0f} a second")
        queries = load_corpus(demo_directory()).queries[:200]
        began = time.process_time()
        for query in queries:
            await runtime.search.search(SearchRequest(query.text))
        searching = time.process_time() - began
        print(f"search of {count} passages, exact: {searching / len(queries) * 1e3:.1f} ms")
    print(f"{tree_bytes(settings.collection_dir) / count:.0f} bytes on disk a passage")


if __name__ == "__main__":
    main()
