"""A load generator: few instructions a request, because it shares the cores with the service.

Closed loop: so many connections, each with one request under way. Open loop: requests at fixed
times whether or not earlier ones were answered; a latency counts from the time at which its
request was due, so that a service which stalls cannot hide it (coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CONNECTION_LIMIT = 256
_HEAD_END = b"\r\n\r\n"


@dataclass(slots=True)
class Outcome:
    """What came of a load.

    Attributes:
        seconds: Wall time.
        latency: Seconds of each answer with status 200, in the order of the answers.
        statuses: Status to number of answers; 0 stands for no answer at all.
        retry_after: Refusals (429) that said when to come again.
    """

    seconds: float = 0.0
    latency: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    retry_after: int = 0

    @property
    def rate(self) -> float:
        """Answers with status 200 a second."""
        return self.statuses[200] / self.seconds

    def quantile(self, q: float) -> float:
        """Return a quantile of the latency in milliseconds, NaN without answers."""
        ordered = sorted(self.latency) or [float("nan")]
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1e3

    def facts(self) -> dict[str, object]:
        """Return what is printed and written down."""
        return {
            "rate": round(self.rate, 1),
            "p50_ms": round(self.quantile(0.5), 2),
            "p90_ms": round(self.quantile(0.9), 2),
            "p99_ms": round(self.quantile(0.99), 2),
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
        }


class Connection:
    """One kept connection."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes, outcome: Outcome) -> int:
        """Send a request and read the answer; returns its status, 0 for none."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(*self._address)
            reader, writer = self._streams
            writer.write(request)
            head = await reader.readuntil(_HEAD_END)
            lower = head.lower()
            if b"\r\ntransfer-encoding: chunked" in lower:
                while size := int(await reader.readline(), 16):
                    await reader.readexactly(size + 2)
                await reader.readline()
            else:
                length = lower.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.close()
            return 0
        if b"\r\nretry-after:" in lower:
            outcome.retry_after += 1
        if b"\r\nconnection: close" in lower:
            self.close()
        return int(head[9:12])

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def post(url: str, body: object) -> bytes:
    """Return the bytes of a request with a JSON body."""
    parts = urlsplit(url)
    raw = json.dumps(body, ensure_ascii=False).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


def get(url: str) -> bytes:
    """Return the bytes of a request without body."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()


async def closed_loop(
    url: str, requests: Sequence[bytes], *, connections: int, seconds: float
) -> Outcome:
    """Keep one request under way on each connection.

    Args:
        url: Where to.
        requests: Sent in turn, from the beginning again where they do not suffice.
        connections: How many.
        seconds: How long.
    """
    outcome = Outcome()
    began = time.perf_counter()
    position = 0

    async def work() -> None:
        nonlocal position
        connection = _connect(url)
        while time.perf_counter() - began < seconds:
            request = requests[position % len(requests)]
            position += 1
            sent = time.perf_counter()
            _note(outcome, await connection.ask(request, outcome), sent)
        connection.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    outcome.seconds = time.perf_counter() - began
    return outcome


async def open_loop(url: str, requests: Sequence[bytes], *, rate: float, seconds: float) -> Outcome:
    """Send at fixed times, on as many connections as are needed.

    Args:
        url: Where to.
        requests: As in ``closed_loop``.
        rate: Requests a second.
        seconds: How long requests are sent; all answers are waited for.
    """
    outcome = Outcome()
    idle: list[Connection] = []
    gate = asyncio.Semaphore(CONNECTION_LIMIT)
    began = time.perf_counter()

    async def one(request: bytes, due: float) -> None:
        async with gate:
            connection = idle.pop() if idle else _connect(url)
            _note(outcome, await connection.ask(request, outcome), due)
            idle.append(connection)

    async with asyncio.TaskGroup() as running:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            running.create_task(one(requests[number % len(requests)], due))
    outcome.seconds = time.perf_counter() - began
    for connection in idle:
        connection.close()
    return outcome


def _connect(url: str) -> Connection:
    parts = urlsplit(url)
    assert parts.hostname is not None, url
    assert parts.port is not None, url
    return Connection(parts.hostname, parts.port)


def _note(outcome: Outcome, status: int, since: float) -> None:
    outcome.statuses[status] += 1
    if status == 200:
        outcome.latency.append(time.perf_counter() - since)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, smallest and largest of the rounds of a measurement."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return {"median": round(median, 3), "min": round(ordered[0], 3), "max": round(ordered[-1], 3)}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Return the ratio of two measurements, taken round by round."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def run(measure: Callable[[], object]) -> None:
    """Print what a measurement found as JSON."""
    print(json.dumps(measure(), indent=1))
