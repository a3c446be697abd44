"""This service beside what one would otherwise build or install, in one run.

    python -m benchmarks.minilm minilm        (training environment)
    python -m benchmarks.peers --minilm minilm --out peers.json

Same weights, same passages, same queries, same load generator, same machine; rounds alternate, so
that a machine that is busy with other things slows all. Each peer is installed from the package
index into an environment of its own, and computes in float32; this service takes the faster of
the graphs of its bundle.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import venv
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks import corpus
from benchmarks.load import closed_loop, get, post, ratio, spread
from benchmarks.service import free_port, index, measured, process, serving


def _asked(url: str, text: str) -> bytes:
    return post(f"{url}/search", {"query": text})


def _asked_in_the_address(url: str, text: str) -> bytes:
    return get(f"{url}/search?{urlencode({'query': text, 'limit': 10})}")


@dataclass(frozen=True, slots=True)
class Peer:
    """What this service is compared with.

    Attributes:
        packages: Of the package index.
        script: Beside this file; told the model, the passages and a port.
        ready: Path that answers once searches are answered.
        request: The bytes of a search, of a URL and a text.
    """

    packages: tuple[str, ...]
    script: str
    ready: str = "/ready"
    request: Callable[[str, str], bytes] = _asked


_SERVER = ("fastapi", "uvicorn", "uvloop", "httptools")
PEERS = {
    "st-faiss": Peer(("sentence-transformers", "faiss-cpu", *_SERVER), "peers_st_faiss.py"),
    "txtai": Peer(
        ("txtai[api]", "uvloop", "httptools"),
        "peers_txtai.py",
        ready="/count",
        request=_asked_in_the_address,
    ),
    "infinity": Peer(
        ("infinity-emb", "sentence-transformers", "optimum", "qdrant-client", *_SERVER),
        "peers_infinity.py",
    ),
}
OURS = "isoglot"
CONNECTIONS = (1, 8, 32)
_INDEXING_SECONDS = 3600.0
_TEXTS = 800


def environment(directory: Path, packages: tuple[str, ...]) -> Path:
    """Make the environment of a peer, unless it is there; returns its interpreter."""
    python = directory / "bin" / "python"
    if not python.is_file():
        venv.create(directory, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def measure(work: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Measure all of them, round by round."""
    passages = work / f"passages-{given.passages}.jsonl"
    if not passages.is_file():
        corpus.write(passages, given.passages)
    bundle = given.minilm / "bundle"
    data = work / f"bundle-{given.passages}"
    index(data, given.passages, bundle=bundle)
    queries = corpus.queries(20_000)
    latency: dict[tuple[str, int], list[float]] = defaultdict(list)
    rate: dict[tuple[str, int], list[float]] = defaultdict(list)
    with ExitStack() as stack:
        urls: dict[str, str] = {}
        for name in given.peers:
            peer = PEERS[name]
            python = environment((given.peer_envs or work) / name, peer.packages)
            port = free_port()
            urls[name] = url = f"http://127.0.0.1:{port}"
            command = [str(python), str(Path(__file__).with_name(peer.script))]
            command += [str(given.minilm / "model"), str(passages), str(port)]
            environ = dict(os.environ)
            stack.enter_context(
                process(command, environ, f"{url}{peer.ready}", patience=_INDEXING_SECONDS)
            )
        urls[OURS], _ = stack.enter_context(serving(data, bundle=bundle))
        asked = 0
        for number in range(given.rounds + 1):
            for connections in CONNECTIONS:
                # Queries that none has seen: no cache must answer.
                texts = queries[asked : asked + _TEXTS]
                asked = asked + _TEXTS if asked + 2 * _TEXTS < len(queries) else 0
                for name, url in urls.items():
                    request = PEERS[name].request if name in PEERS else _asked
                    found = asyncio.run(
                        closed_loop(
                            url,
                            [request(url, text) for text in texts],
                            connections=connections,
                            seconds=given.seconds,
                        )
                    )
                    assert set(found.statuses) == {200}, (name, found.statuses)
                    if number:
                        latency[name, connections].append(found.quantile(0.5))
                        rate[name, connections].append(found.rate)
    return {
        "passages": given.passages,
        "rounds": given.rounds,
        "p50_ms": {f"{name} {n}": spread(v) for (name, n), v in latency.items()},
        "rate": {f"{name} {n}": spread(v) for (name, n), v in rate.items()},
        "our_rate_to_theirs": _beside(rate, given.peers),
        "our_p50_to_theirs": _beside(latency, given.peers),
        "our_rate_32_to_8": ratio(rate[OURS, 32], rate[OURS, 8]),
    }


def _beside(
    found: dict[tuple[str, int], list[float]], peers: list[str]
) -> dict[str, dict[str, float]]:
    return {
        f"{name} {n}": ratio(found[OURS, n], found[name, n]) for name in peers for n in CONNECTIONS
    }


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minilm", type=Path, required=True, help="what benchmarks.minilm made")
    parser.add_argument("--passages", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--peer-envs", type=Path, help="environments of the peers; made if missing")
    measured(parser, measure)


if __name__ == "__main__":
    main()
