"""The usual service of one's own: sentence-transformers and FAISS behind FastAPI.

Runs in an environment of its own, which ``benchmarks.peers`` makes; it imports nothing of ours.
The vectors of the passages are kept beside them, for the next run.
"""

import json
import os
import sys
from pathlib import Path

import faiss  # type: ignore[import-not-found]
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

model_dir, passages_file, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows = [json.loads(line) for line in Path(passages_file).read_text(encoding="utf-8").splitlines()]
model = SentenceTransformer(model_dir, device="cpu")
kept = Path(passages_file).with_suffix(".npy")
if not kept.is_file():
    texts = [row["text"] for row in rows]
    np.save(kept, model.encode(texts, normalize_embeddings=True, batch_size=64))
vectors = np.load(kept)
index = faiss.IndexHNSWFlat(vectors.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
index.hnsw.efSearch = 128
index.add(vectors)
app = FastAPI()


class Query(BaseModel):
    """A search."""

    query: str
    limit: int = 10


@app.get("/ready")
def ready() -> dict[str, int]:
    """Say that it answers."""
    return {"passages": len(rows), "pid": os.getpid()}


@app.post("/search")
def search(body: Query) -> dict[str, object]:
    """Find passages, in a worker thread as FastAPI runs ordinary functions."""
    vector = model.encode([body.query], normalize_embeddings=True)
    scores, found = index.search(vector, body.limit)
    hits = [{**rows[n], "score": float(s)} for n, s in zip(found[0], scores[0], strict=True)]
    return {"hits": hits}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
