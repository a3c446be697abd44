"""txtai's own API over its own index, as its documentation sets it up.

Runs in an environment of its own, which ``benchmarks.peers`` makes; it imports nothing of ours.
The index is kept beside the passages, for the next run.
"""

import json
import os
import sys
from pathlib import Path

import uvicorn
from txtai import Embeddings  # type: ignore[import-not-found]

model_dir, passages_file, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
kept = passages_file.with_suffix(".txtai")
if not kept.exists():
    rows = map(json.loads, passages_file.read_text(encoding="utf-8").splitlines())
    embeddings = Embeddings(path=model_dir, content=True)
    embeddings.index((row["id"], row["text"], None) for row in rows)
    embeddings.save(str(kept))
settings = passages_file.with_suffix(".yml")
settings.write_text(
    json.dumps({"path": str(kept), "writable": False, "embeddings": {"path": model_dir}}),
    encoding="utf-8",
)
os.environ["CONFIG"] = str(settings)
uvicorn.run("txtai.api:app", host="127.0.0.1", port=port, log_level="warning", access_log=False)
