"""Latency and saturation of ``POST /search`` over HTTP, beside the bare parts it is made of.

    python -m benchmarks.search --passages 30000 --bundle DIR --out search.json

Rounds are interleaved: one connection, eight, thirty-two, then the bare encoder and the bare
engine in this process, on a copy of the same collection. ``--filtered`` asks for one shelf in ten.
Ratios are taken round by round, so that a machine that is busy with other things slows both sides.
The stages are those that the service states in ``Server-Timing``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import time
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

import qdrant_edge as qe

from app.adapters.edge.nearest import exact_scores
from app.adapters.encoders.onnx_encoder import OnnxEncoder
from app.core.bundle import load_bundle
from app.environment import load_settings
from benchmarks import corpus
from benchmarks.load import closed_loop, post, ratio, spread
from benchmarks.service import index, measured, memory_mib, serving

CONNECTIONS = (1, 8, 32)
_HITS = 10
_BARE_QUERIES = 200
_STAGED_QUERIES = 200


class Bare:
    """The encoder and the engine without service: one query after another, ids only."""

    def __init__(self, collection: Path, bundle_dir: Path, threads: int) -> None:
        bundle = load_bundle(bundle_dir)
        self._encoder = OnnxEncoder(
            bundle.spec, bundle.onnx_path(), bundle.tokenizer_path, threads=threads
        )
        [shard] = collection.glob("shard-*")
        self._shard = qe.EdgeShard.load(str(shard))

    def ask(self, text: str, *, exact: bool = False) -> set[qe.PointId]:
        """Encode a query and return its ten nearest passages; ``exact`` uses no index."""
        vector = self._encoder.encode_queries([text])[0]
        nearest = qe.Query.Nearest(vector.tolist(), using="dense")
        params = qe.SearchParams(exact=True) if exact else exact_scores(_HITS)
        found = self._shard.query(qe.QueryRequest(limit=_HITS, query=nearest, params=params))
        return {point.id for point in found}

    def p50_ms(self, queries: list[str]) -> float:
        """Return the median time of queries."""
        seconds = []
        for text in queries:
            began = time.perf_counter()
            self.ask(text)
            seconds.append(time.perf_counter() - began)
        return sorted(seconds)[len(seconds) // 2] * 1e3

    def close(self) -> None:
        """Let go of the files."""
        self._shard.close()


def stages(url: str, queries: list[str]) -> dict[str, float]:
    """Return the mean milliseconds of every stage, as the service states them."""
    totals: dict[str, float] = defaultdict(float)
    for text in queries:
        request = urllib.request.Request(
            f"{url}/search",
            json.dumps({"query": text}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            for part in answer.headers["Server-Timing"].split(", "):
                name, _, milliseconds = part.partition(";dur=")
                totals[name] += float(milliseconds)
    return {name: round(total / len(queries), 3) for name, total in totals.items()}


def measure(work: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Measure one size of the collection."""
    bundle = given.bundle or load_settings().bundle
    data = work / f"{bundle.name}-{given.passages}"
    indexed_in = index(data, given.passages, bundle=bundle)
    copy = work / "bare"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(data / "passages", copy)
    queries = corpus.queries(20_000)
    extra = (
        {"filter": {"must": [{"key": "shelf", "match": {"value": 3}}]}} if given.filtered else {}
    )
    latency: dict[int, list[float]] = defaultdict(list)
    p99: dict[int, list[float]] = defaultdict(list)
    rate: dict[int, list[float]] = defaultdict(list)
    bare_ms: list[float] = []
    asked = 0
    with serving(data, bundle=bundle) as (url, pid):
        bare = Bare(copy, bundle, threads=load_settings().encoder_threads)
        for number in range(given.rounds + 1):
            for connections in CONNECTIONS:
                texts = queries[asked : asked + 3000] or queries[:3000]
                asked += 3000 if asked + 3000 < len(queries) else -asked
                found = asyncio.run(
                    closed_loop(
                        url,
                        [post(f"{url}/search", {"query": text, **extra}) for text in texts],
                        connections=connections,
                        seconds=given.seconds,
                    )
                )
                assert set(found.statuses) == {200}, found.statuses
                if number:  # the first round warms up
                    latency[connections].append(found.quantile(0.5))
                    p99[connections].append(found.quantile(0.99))
                    rate[connections].append(found.rate)
            bare_ms.append(bare.p50_ms(queries[-_BARE_QUERIES:]))
        bare.close()
        result = {
            "bundle": bundle.name,
            "passages": given.passages,
            "filtered": given.filtered,
            "indexing_seconds": round(indexed_in, 1),
            "p50_ms": {n: spread(v) for n, v in latency.items()},
            "p99_ms": {n: spread(v) for n, v in p99.items()},
            "rate": {n: spread(v) for n, v in rate.items()},
            "bare_p50_ms": spread(bare_ms[1:]),
            "ratio_p50_to_bare": ratio(latency[1], bare_ms[1:]),
            "ratio_rate_32_to_8": ratio(rate[32], rate[8]),
            "stages_ms": stages(url, queries[:_STAGED_QUERIES]),
            "memory_mib": memory_mib(pid),
        }
    shutil.rmtree(copy, ignore_errors=True)
    return result


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--passages", type=int, default=30_000)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--filtered", action="store_true")
    measured(parser, measure)


if __name__ == "__main__":
    main()
