"""Passages a second through the ingest pipeline, beside the bare encoder and the bare engine.

    python -m benchmarks.ingest_parts --bundle DIR --out ingest.json

Every round takes the same new passages three ways: through the encoder alone, through the encoder
and then into a shard of the engine, and through ``IngestService.add``, which also checks, compares
with what is stored, and writes payloads. The languages are declared.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import qdrant_edge as qe

from app.adapters.edge.engine import vector_config
from app.adapters.qdrant.records import chunks
from app.bootstrap import Runtime, open_runtime
from app.core.ports import Encoder
from app.core.types import Passage, VectorArray
from app.environment import load_settings
from benchmarks import corpus
from benchmarks.load import ratio, spread
from benchmarks.service import write_json

_BATCH = 256
"""What the pipeline writes at a time."""


def upsert(shard: qe.EdgeShard, first: int, texts: list[str], vectors: VectorArray) -> None:
    """Write texts and vectors, and nothing else, in batches."""
    for rows in chunks(range(len(texts)), _BATCH):
        points = [
            qe.Point(UUID(int=first + n), {"dense": vectors[n].tolist()}, {"text": texts[n]})
            for n in rows
        ]
        shard.update(qe.UpdateOperation.upsert_points(points))


async def measure(
    runtime: Runtime, shard: qe.EdgeShard, given: argparse.Namespace
) -> dict[str, Any]:
    """Measure all three, round by round."""
    encoder = cast("Encoder", runtime.tools.tokens)  # one object does both
    rows = corpus.passages(given.passages * (given.rounds + 1))
    rates: dict[str, list[float]] = {"encoder": [], "encoder_and_engine": [], "service": []}
    tokens = 0
    for number in range(given.rounds + 1):
        some: list[Passage] = list(islice(rows, given.passages))
        texts = [passage.text for passage in some]
        began = time.perf_counter()
        vectors = encoder.encode_passages(texts)
        encoded = time.perf_counter()
        upsert(shard, number * given.passages, texts, vectors)
        stored = time.perf_counter()
        for batch in chunks(some, _BATCH):
            await runtime.ingest.add(batch, durable=False)
        done = time.perf_counter()
        tokens = sum(runtime.tools.tokens.count_tokens(texts))
        if number:  # the first round warms up
            rates["encoder"].append(len(some) / (encoded - began))
            rates["encoder_and_engine"].append(len(some) / (stored - began))
            rates["service"].append(len(some) / (done - stored))
    found: dict[str, Any] = {f"{name}_a_second": spread(values) for name, values in rates.items()}
    return {
        **found,
        "tokens_a_passage": round(tokens / given.passages, 1),
        "ratio_to_encoder": ratio(rates["service"], rates["encoder"]),
        "ratio_to_encoder_and_engine": ratio(rates["service"], rates["encoder_and_engine"]),
    }


async def run(given: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Open what is measured, and measure."""
    settings = load_settings(data_dir=scratch / "data", bundle=given.bundle)
    async with open_runtime(settings) as runtime:
        config = qe.EdgeConfig(vectors=vector_config(runtime.encoder.spec.dim), wal_enabled=True)
        (scratch / "bare").mkdir()
        shard = qe.EdgeShard.create(str(scratch / "bare"), config)
        try:
            return await measure(runtime, shard, given)
        finally:
            shard.close()


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bundle", type=Path, help="the starter bundle by default")
    parser.add_argument("--passages", type=int, default=2048, help="in every round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        write_json(given.out, asyncio.run(run(given, Path(scratch))))


if __name__ == "__main__":
    main()
