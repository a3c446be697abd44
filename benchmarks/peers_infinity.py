"""Infinity's engine for the queries and Qdrant's local mode for the passages, behind FastAPI.

Runs in an environment of its own, which ``benchmarks.peers`` makes; it imports nothing of ours.
The vectors of the passages are kept beside them, for the next run.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI
from infinity_emb import AsyncEmbeddingEngine, EngineArgs  # type: ignore[import-not-found]
from pydantic import BaseModel
from qdrant_client import QdrantClient, models

model_dir, passages_file, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows = [json.loads(line) for line in Path(passages_file).read_text(encoding="utf-8").splitlines()]
kept = Path(passages_file).with_suffix(".npy")
store = QdrantClient(":memory:")
engine = AsyncEmbeddingEngine.from_args(
    EngineArgs(
        model_name_or_path=model_dir,
        engine="torch",
        device="cpu",
        bettertransformer=False,  # transformers has it no more
        model_warmup=False,  # calls what transformers has no more
    )
)


@asynccontextmanager
async def opened(_: FastAPI) -> AsyncIterator[None]:
    """Embed the passages, unless that was done, and load them."""
    await engine.astart()
    if not kept.is_file():
        vectors, _usage = await engine.embed(sentences=[row["text"] for row in rows])
        np.save(kept, np.array(vectors, np.float32))
    size = np.load(kept, mmap_mode="r").shape[1]
    params = models.VectorParams(size=size, distance=models.Distance.COSINE)
    store.create_collection("passages", vectors_config=params)
    store.upload_collection("passages", vectors=np.load(kept), payload=rows)
    yield
    await engine.astop()


app = FastAPI(lifespan=opened)


class Query(BaseModel):
    """A search."""

    query: str
    limit: int = 10


@app.get("/ready")
async def ready() -> dict[str, int]:
    """Say that it answers."""
    return {"passages": len(rows)}


@app.post("/search")
async def search(body: Query) -> dict[str, object]:
    """Find passages; the local mode computes at once, so a thread does it."""
    [vector], _usage = await engine.embed(sentences=[body.query])
    found = await asyncio.to_thread(
        store.query_points, "passages", query=list(map(float, vector)), limit=body.limit
    )
    return {"hits": [{**(point.payload or {}), "score": point.score} for point in found.points]}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
