"""This service beside sentence-transformers and FAISS behind FastAPI, in one run.

    python -m benchmarks.minilm minilm        (training environment)
    python -m benchmarks.peers --minilm minilm --out peers.json

Same weights, same passages, same queries, same load generator, same machine; rounds alternate, so
that a machine that is busy with other things slows both. The peer is installed from the package
index into an environment of its own. ``int8`` and ``float32`` are the graphs of our bundle; the
peer computes in float32.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import venv
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import corpus
from benchmarks.load import closed_loop, post, ratio, spread
from benchmarks.service import free_port, index, process, serving, work_directory, write_json

PACKAGES = ["sentence-transformers", "faiss-cpu", "fastapi", "uvicorn", "uvloop", "httptools"]
CONNECTIONS = (1, 8, 32)
_INDEXING_SECONDS = 3600.0


def environment(directory: Path) -> Path:
    """Make the peer's environment, unless it is there; returns its interpreter."""
    python = directory / "bin" / "python"
    if not python.is_file():
        venv.create(directory, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def measure(work: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Measure both, round by round."""
    python = environment(given.peer_env or work / "st-faiss")
    passages = work / f"passages-{given.passages}.jsonl"
    corpus.write(passages, given.passages)
    bundle = given.minilm / "bundle"
    data = work / f"bundle-{given.passages}"
    index(data, given.passages, bundle=bundle)
    port = free_port()
    peer = [str(python), str(Path(__file__).with_name("peers_st_faiss.py"))]
    peer += [str(given.minilm / "model"), str(passages), str(port)]
    queries = corpus.queries(20_000)
    latency: dict[tuple[str, int], list[float]] = defaultdict(list)
    rate: dict[tuple[str, int], list[float]] = defaultdict(list)
    with ExitStack() as stack:
        ours, _ = stack.enter_context(serving(data, bundle=bundle))
        theirs = f"http://127.0.0.1:{port}"
        stack.enter_context(
            process(peer, dict(os.environ), f"{theirs}/ready", patience=_INDEXING_SECONDS)
        )
        asked = 0
        for number in range(given.rounds + 1):
            for connections in CONNECTIONS:
                # Queries that neither has seen: our cache must not answer.
                texts = queries[asked : asked + 800]
                asked = asked + 800 if asked + 1600 < len(queries) else 0
                for name, url in (("isoglot", ours), ("st+faiss", theirs)):
                    requests = [post(f"{url}/search", {"query": text}) for text in texts]
                    found = asyncio.run(
                        closed_loop(url, requests, connections=connections, seconds=given.seconds)
                    )
                    if number:
                        latency[name, connections].append(found.quantile(0.5))
                        rate[name, connections].append(found.rate)
    return {
        "passages": given.passages,
        "rounds": given.rounds,
        "p50_ms": {f"{name} {n}": spread(v) for (name, n), v in latency.items()},
        "rate": {f"{name} {n}": spread(v) for (name, n), v in rate.items()},
        "rate_ours_to_theirs": {
            n: ratio(rate["isoglot", n], rate["st+faiss", n]) for n in CONNECTIONS
        },
        "p50_ours_to_theirs": {
            n: ratio(latency["isoglot", n], latency["st+faiss", n]) for n in CONNECTIONS
        },
        "our_rate_32_to_8": ratio(rate["isoglot", 32], rate["isoglot", 8]),
    }


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minilm", type=Path, required=True, help="what benchmarks.minilm made")
    parser.add_argument("--passages", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--peer-env", type=Path, help="environment of the peer; made if missing")
    parser.add_argument("--work", type=Path, help="keep collections here, for the next run")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with work_directory(given.work) as work:
        write_json(given.out, measure(work, given))


if __name__ == "__main__":
    main()
