"""Streams lines into a service of its own and checks the answer to every one of them.

    python benchmarks/ingest.py --lines 100000

One line in a hundred is broken, in one of five ways. The service runs in a process of its own on
a new data directory, with the bundle that the environment names (the starter bundle by default).
Checked: every line is answered, in order, with the status it must have; good lines are found by
their text and counted by a filter; the same lines, sent again compressed, are all unchanged.
Printed: lines per second, and the peak memory of the service before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

BROKEN_EVERY = 100
SHELVES = 10
SEARCHES = 100
BLOCK_BYTES = 1 << 16
START_SECONDS = 120.0
_GZIP = 16 + zlib.MAX_WBITS

# fmt: off
WORDS = [
    "water", "river", "bridge", "market", "doctor", "winter", "garden", "letter", "morning",
    "engine",
    "Wasser", "Fluss", "Brücke", "Markt", "Arzt", "Winter", "Garten", "Brief", "Morgen", "Motor",
    "agua", "río", "puente", "mercado", "médico", "invierno", "jardín", "carta", "mañana", "motor",
    "вода", "река", "мост", "рынок", "врач", "зима", "сад", "письмо", "утро", "двигатель",
    "水", "河", "橋", "市場", "医者", "冬", "庭", "手紙", "朝", "機械",
]
# fmt: on


def text_of(number: int) -> str:
    """A sentence of its own for every line, the same in every run."""
    draw = random.Random(number)
    return " ".join(draw.choices(WORDS, k=24)) + f" {number}"


def is_broken(number: int) -> bool:
    """One line in a hundred, spread evenly."""
    return number % BROKEN_EVERY == BROKEN_EVERY // 2


def line_of(number: int) -> bytes:
    """A line of the upload, without its line break."""
    passage = {
        "id": f"line-{number}",
        "text": text_of(number),
        "metadata": {"shelf": number % SHELVES},
    }
    if is_broken(number):
        match number // BROKEN_EVERY % 5:
            case 0:
                return json.dumps(passage).encode()[:-7]
            case 1:
                del passage["text"]
            case 2:
                passage["language"] = "no tag"
            case 3:
                passage["metadata"] = {"shelf": "top"}
            case _:
                passage["text"] = "\U0001f680 \U0001f680"
    return json.dumps(passage, ensure_ascii=False).encode()


def blocks(lines: int) -> Iterator[bytes]:
    """The upload, in blocks."""
    block = bytearray()
    for number in range(1, lines + 1):
        block += line_of(number) + b"\n"
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    yield bytes(block)


def packed(plain: Iterable[bytes]) -> Iterator[bytes]:
    """The same compressed with gzip."""
    packer = zlib.compressobj(wbits=_GZIP)
    for block in plain:
        yield packer.compress(block)
    yield packer.flush()


@contextmanager
def service(directory: Path) -> Iterator[tuple[httpx.Client, int]]:
    """Run a service; yields a client and the process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "ISOGLOT_DATA_DIR": str(directory),
        "ISOGLOT_FILTER_FIELDS": "shelf:integer",
        "ISOGLOT_LOG_LEVEL": "warning",
    }
    command = [
        sys.executable,
        "-c",
        "from app.cli import main; main()",
        "serve",
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
            _wait_until_ready(client, process)
            yield client, process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/health/ready").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit("The service did not start.")


def peak_mib(process_id: int) -> float:
    """Peak resident memory of a process so far, in MiB."""
    status = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def upload(client: httpx.Client, lines: int, expected: str, *, gzip: bool) -> Counter[str]:
    """Send all lines and check every answer; returns how often each status came."""
    headers = {"Content-Type": "application/x-ndjson"}
    body = blocks(lines)
    if gzip:
        headers["Content-Encoding"] = "gzip"
        body = packed(body)
    seen: Counter[str] = Counter()
    summary = None
    with client.stream("POST", "/v1/passages", content=body, headers=headers) as response:
        response.raise_for_status()
        for text in response.iter_lines():
            answer = json.loads(text)
            summary = answer.get("summary")
            if summary is None:
                number = seen.total() + 1
                status = "rejected" if is_broken(number) else expected
                assert (answer["line"], answer["status"]) == (number, status), answer
                assert status != "rejected" or answer["error"]["detail"], answer
                seen[status] += 1
    assert summary is not None, "The answer was cut off."
    assert seen.total() == summary["received"] == lines, summary
    assert "aborted" not in summary, summary
    assert {status: summary[status] for status in seen} == dict(seen), summary
    return seen


def check_searches(client: httpx.Client, lines: int) -> None:
    """Good lines are found by their own text, and counted by a filter."""
    good = [n for n in range(1, lines + 1) if not is_broken(n)]
    for number in random.Random(0).sample(good, min(SEARCHES, len(good))):
        body = {"query": text_of(number), "limit": 1, "rank_by": "score"}
        [hit] = client.post("/v1/search", json=body).raise_for_status().json()["hits"]
        assert hit["text"] == text_of(number), (number, hit)
    condition = {"must": [{"key": "shelf", "match": {"value": 3}}]}
    found = client.post("/v1/passages:count", json={"filter": condition}).raise_for_status().json()
    assert found["count"] == sum(n % SHELVES == 3 for n in good), found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, default=100_000)
    lines = parser.parse_args().lines
    with tempfile.TemporaryDirectory() as directory, service(Path(directory)) as (client, process):
        before = peak_mib(process)
        for expected, gzip in (("created", False), ("unchanged", True)):
            began = time.perf_counter()
            seen = upload(client, lines, expected, gzip=gzip)
            seconds = time.perf_counter() - began
            print(f"{dict(seen)} in {seconds:.1f} s, {lines / seconds:.0f} lines/s")
            peak = peak_mib(process)
            print(f"peak memory of the service: {before:.0f} MiB started, {peak:.0f} MiB now")
        check_searches(client, lines)
        print(f"{SEARCHES} of the good lines were found by their text")


if __name__ == "__main__":
    main()
