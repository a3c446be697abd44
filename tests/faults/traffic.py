"""What clients saw: searches and writes with their deadlines, and every answer noted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx

TIMEOUT_MS = 2000
"""Deadline that every search states."""

SLACK = 1.5
"""Seconds beyond a deadline that a machine with two busy cores may take to say so."""

WRITE_DEADLINE = 6.0
"""Seconds for a write: three calls of a store that may take two seconds each."""

PROBLEM = "application/problem+json"


@dataclass(slots=True)
class Saw:
    """What clients saw.

    Attributes:
        answers: ``search 200``, ``search 503 store_unavailable`` and so on, and how often.
        undocumented: Answers that are neither a success nor a problem body.
        late: Answers that came after their deadline.
        slowest: Seconds of the slowest answer to a search.
        acknowledged: Ids of the passages whose write was acknowledged.
    """

    answers: Counter[str] = field(default_factory=Counter)
    undocumented: list[str] = field(default_factory=list)
    late: int = 0
    slowest: float = 0.0
    acknowledged: list[str] = field(default_factory=list)


class Traffic:
    """Searches and writes from two threads until the end of the block.

    Args:
        url: Of the service.
        is_down_expected: Whether connections may be refused or cut: the service is killed.
    """

    def __init__(self, url: str, *, is_down_expected: bool = False) -> None:
        self.saw = Saw()
        self._url = url
        self._client = httpx.Client(base_url=url, timeout=30.0)
        self._is_down_expected = is_down_expected
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._search),
            threading.Thread(target=self._write),
        ]
        self._run = f"{time.time_ns():x}"

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Send nothing more; returns once the last answer is there."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def lost(self) -> int:
        """Return how many acknowledged passages are not there."""
        with httpx.Client(base_url=self._url, timeout=30.0) as client:
            return sum(
                client.get(f"/v1/passages/{passage_id}").status_code != httpx.codes.OK
                for passage_id in self.saw.acknowledged
            )

    def _search(self) -> None:
        body = {"query": "the water is warm", "timeout_ms": TIMEOUT_MS}
        while not self._over.wait(0.05):
            seconds = self._send("search", "/search", body, TIMEOUT_MS / 1e3)
            self.saw.slowest = max(self.saw.slowest, seconds)

    def _write(self) -> None:
        number = 0
        while not self._over.wait(0.1):
            number += 1
            passage = {"id": f"{self._run}-{number}", "text": f"the water is warm {number}"}
            before = self.saw.answers["write 200"]
            self._send("write", "/v1/passages", [passage], WRITE_DEADLINE)
            if self.saw.answers["write 200"] > before:
                self.saw.acknowledged.append(passage["id"])

    def _send(self, kind: str, path: str, body: object, deadline: float) -> float:
        began = time.monotonic()
        try:
            answer = self._client.post(path, json=body)
        except httpx.TransportError as error:
            self.saw.answers[f"{kind} {type(error).__name__}"] += 1
            if not self._is_down_expected:
                self.saw.undocumented.append(f"{kind}: {error!r}")
            return 0.0
        seconds = time.monotonic() - began
        self.saw.late += seconds > deadline + SLACK
        code = ""
        if not answer.is_success:
            if answer.headers.get("content-type") == PROBLEM:
                code = f" {answer.json()['code']}"
            else:
                self.saw.undocumented.append(f"{kind}: {answer.status_code} {answer.text[:200]}")
        self.saw.answers[f"{kind} {answer.status_code}{code}"] += 1
        return seconds
