"""Does memory grow with every bundle that is loaded into a running service?

    .venv/bin/python -m benchmarks.reloads --reloads 20

Loads two bundles in turn, searches after each, and prints resident memory every five loads.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import httpx

from app.settings import starter_bundle
from benchmarks import corpus
from benchmarks.service import memory_mib, serving, write_json
from benchmarks.soak import second_bundle

SEARCHES = 20
SETTLE_SECONDS = 2.0
"""After which the bundle from before is gone."""


def measure(reloads: int) -> list[dict[str, float]]:
    """Return memory in MiB by number of loads."""
    notes = []
    with tempfile.TemporaryDirectory(prefix="isoglot-reloads-") as scratch:
        first = starter_bundle().resolve()
        bundles = [second_bundle(first, Path(scratch) / "second"), first]
        with (
            serving(Path(scratch) / "data") as (url, pid),
            httpx.Client(base_url=url, timeout=60) as client,
        ):
            rows = [
                {"id": p.id, "text": p.text, "language": p.language} for p in corpus.passages(500)
            ]
            client.post("/v1/passages", json=rows).raise_for_status()
            for done in range(reloads + 1):
                for query in corpus.queries(SEARCHES):
                    client.post("/search", json={"query": query}).raise_for_status()
                if done % 5 == 0:
                    time.sleep(SETTLE_SECONDS)
                    notes.append({"reloads": done, **memory_mib(pid)})
                body = {"directory": str(bundles[done % 2])}
                client.post("/v1/bundle:load", json=body).raise_for_status()
    return notes


def main() -> None:
    """Run, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    write_json(given.out, measure(given.reloads))


if __name__ == "__main__":
    main()
