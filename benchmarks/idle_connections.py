"""Does a request meet the closing of the connection that it is sent on?

    .venv/bin/python -m benchmarks.idle_connections --idle 5

Requests are sent on connections that have been idle for about ``--idle`` seconds, a few
milliseconds more or less. A client that keeps connections for as long as the service does sends
some on connections that are being closed, which get no answer (``ReadError``). Prints how many
were answered, and how.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from benchmarks.service import serving

CONNECTIONS = 40
STEP_SECONDS = 0.004
ROUNDS = 12


async def measure(url: str, idle: float) -> Counter[str]:
    """Return how many requests were answered, by status or error."""
    seen: Counter[str] = Counter()
    limits = httpx.Limits(keepalive_expiry=idle)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as client:

        async def ask() -> None:
            try:
                answer = await client.post("/search", json={"query": "bread", "limit": 1})
            except httpx.TransportError as error:
                seen[type(error).__name__] += 1
            else:
                seen[str(answer.status_code)] += 1

        async def ask_at(when: float) -> None:
            await asyncio.sleep(when - time.perf_counter())
            await ask()

        for _ in range(ROUNDS):
            await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
            begin = time.perf_counter() + idle - CONNECTIONS * STEP_SECONDS / 2
            await asyncio.gather(*(ask_at(begin + n * STEP_SECONDS) for n in range(CONNECTIONS)))
    return seen


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--idle", type=float, default=5.0, help="seconds that connections idle")
    idle = parser.parse_args().idle
    with tempfile.TemporaryDirectory() as scratch, serving(Path(scratch)) as (url, _):
        print(dict(asyncio.run(measure(url, idle))))


if __name__ == "__main__":
    main()
