"""What watching costs: a scrape, and the counting of a search, side by side with doing neither.

    python -m benchmarks.metrics

Printed: series and bytes of an exposition with eleven languages, an active calibrator and a
shadow; the median time to write it, and its ratio to that of a registry with no metric of ours;
the time to count a search of ten hits and to sign its tokens, and their ratio to the search itself
(starter bundle, demo corpus, in process, without HTTP).
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import generate_latest

from app.bootstrap import open_runtime
from app.core.bundle import load_bundle
from app.core.feedback.entries import Statement
from app.core.feedback.tokens import FeedbackTokens
from app.core.search.types import SearchRequest
from app.core.types import Passage
from app.main import create_app
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.searches import ShownHit
from tests.bundles import tiny_spec, write_tiny_bundle
from tests.calibrators import make_calibrator

ELEVEN = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
ROUNDS = 101
LOOPS = 200
HITS = 10


def main() -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as directory:
        spec = tiny_spec(languages=ELEVEN)
        bundle = load_bundle(write_tiny_bundle(Path(directory) / "bundle", spec=spec))
    assert bundle.calibrator is not None
    metrics, shadow = Metrics(), make_calibrator(metrics={"shadow": True})
    create_app(Settings(log_level="error"), metrics=metrics)
    metrics.serves(bundle, active=bundle.calibrator, shadow=shadow)
    empty = CollectorRegistry()
    ProcessCollector(registry=empty)
    written = metrics.exposition()
    series = sum(1 for line in written.splitlines() if not line.startswith(b"#"))
    ours = _median(metrics.exposition)
    theirs = _median(lambda: generate_latest(empty))
    print(f"exposition: {series} series, {len(written) / 1e3:.0f} kB")
    print(f"scrape: {ours * 1e3:.1f} ms; {ours / theirs:.0f} times that of an empty registry")

    tokens = FeedbackTokens(b"k" * 32, collection="passages", lifetime=1.0)
    statement = _statement(bundle.calibrator.id)
    both = {bundle.calibrator.id: 0.5, shadow.id: 0.4}
    hits = [ShownHit(rank, 0.5, "de", {bundle.calibrator.id: 0.5}) for rank in range(1, HITS + 1)]
    shadowed = [hit._replace(probabilities=both) for hit in hits]

    def count(shown: list[ShownHit]) -> Callable[[], None]:
        return lambda: metrics.searches.answered(
            query_language="en",
            decision="answered",
            stage_milliseconds={"encode": 1.0, "search": 1.0, "calibrate": 0.2, "language": 0.1},
            hits=shown,
        )

    lines = Path("demo/passages.jsonl").read_text(encoding="utf-8").splitlines()
    search = asyncio.run(_search_seconds([json.loads(line) for line in lines]))
    print(f"a search: {search * 1e6:.0f} us")
    works: dict[str, Callable[[], object]] = {
        f"counting a search of {HITS} hits": count(hits),
        "the same with a shadow": count(shadowed),
        f"signing {HITS} tokens": lambda: [tokens.sign(statement) for _ in range(HITS)],
    }
    for name, work in works.items():
        seconds = _median(partial(_repeat, work)) / LOOPS
        print(f"{name}: {seconds * 1e6:.0f} us, {seconds / search:.1%} of a search")


async def _search_seconds(passages: list[dict[str, str]]) -> float:
    with tempfile.TemporaryDirectory() as directory:
        async with open_runtime(Settings(data_dir=Path(directory))) as runtime:
            await runtime.ingest.add([Passage(p["id"], p["text"], p["language"]) for p in passages])
            times = []
            for _ in range(LOOPS):
                began = time.perf_counter()
                await runtime.search.search(SearchRequest("Wie finde ich das Loch im Schlauch?"))
                times.append(time.perf_counter() - began)
    return statistics.median(times)


def _repeat(work: Callable[[], object]) -> None:
    for _ in range(LOOPS):
        work()


def _median(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _statement(calibrator: str) -> Statement:
    return Statement(
        query_id="0" * 32,
        passage_id="kb-4711",
        rank=1,
        probability=0.5,
        calibrator=calibrator,
        query_language="en",
        passage_language="de",
        issued=1_800_000_000,
        score=0.5,
        background=0.25,
        corpus_size=10_000,
        language_rank=1,
        language_lead=0.1,
        language_lag=0.0,
        language_size=1000,
        same=0.0,
        cross=1.0,
    )


if __name__ == "__main__":
    main()
