"""What waits for the encoder: two lanes, queries before passages.

Work is measured in estimated tokens, because that is what a pass costs. Queries are bounded: who
would wait too long is told at once instead. Passages are not, because whoever brings them waits
for each pass before bringing the next.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, Protocol

from app.core.errors import OverloadedError
from app.core.types import VectorArray

Lane = Literal["query", "passage"]

MAX_WAITING_TOKENS = 16_384
"""Tokens of queries that may wait; more are refused."""

QUERY_PASS_TOKENS = 2_048
"""Tokens of queries that are encoded in one pass, where the encoder gains by it."""

FULL_SHARE = 0.9
"""Share of ``MAX_WAITING_TOKENS`` from which on the queue counts as full, until half is gone."""

PATIENCE = 8
"""Passes of queries in a row, after which passages that wait get one."""

_BYTES_A_TOKEN = 4


def estimated_tokens(text: str, max_length: int) -> int:
    """Return roughly how many tokens a text has: a quarter of its bytes, in every script."""
    return min(max_length, 1 + len(text.encode("utf-8", "replace")) // _BYTES_A_TOKEN)


class EncodingObserver(Protocol):
    """Is told how the encoder's queue and cache are doing; called from several threads."""

    def queued(self, lane: Lane, tokens: int) -> None:
        """Learn how many tokens wait in a lane now."""
        ...

    def waited(self, lane: Lane, seconds: float) -> None:
        """Learn how long a piece of work waited."""
        ...

    def refused(self, lane: Lane) -> None:
        """Learn that a lane was full."""
        ...

    def looked_up(self, *, hit: bool) -> None:
        """Learn of a look-up in the cache of query vectors."""
        ...

    def cached(self, size: int) -> None:
        """Learn how many bytes the cache holds now."""
        ...


@dataclass(eq=False, slots=True)
class Work:
    """Texts for one pass.

    Attributes:
        lane: What the texts are.
        texts: At least one.
        tokens: How many tokens they have, by estimate.
        done: Gets their vectors; cancelled where nobody waits for them any more.
        since: When it began to wait, by ``time.perf_counter``.
    """

    lane: Lane
    texts: Sequence[str]
    tokens: int
    done: Future[VectorArray] = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)


class Lanes:
    """A queue for one thread that works and others that bring work.

    Args:
        merge_queries: Whether queries of different callers may share a pass.
        max_waiting_tokens: Bound on the queries that wait.
        observer: Is told what happens; ``None`` where nobody looks.
    """

    def __init__(
        self,
        *,
        merge_queries: bool,
        max_waiting_tokens: int = MAX_WAITING_TOKENS,
        observer: EncodingObserver | None = None,
    ) -> None:
        self._observer = observer
        self._merge_queries = merge_queries
        self._max_tokens = max_waiting_tokens
        self._lanes: dict[Lane, deque[Work]] = {"query": deque(), "passage": deque()}
        self._waiting: dict[Lane, int] = {"query": 0, "passage": 0}
        self._full_since: float | None = None
        self._in_a_row = 0
        self._closed = False
        self._changed = threading.Condition()

    def waiting_tokens(self, lane: Lane) -> int:
        """Return how many tokens wait in a lane."""
        return self._waiting[lane]

    @property
    def full_seconds(self) -> float:
        """For how long queries have been waiting in such numbers that more are refused."""
        since = self._full_since
        return 0.0 if since is None else time.perf_counter() - since

    def put(self, work: Work) -> None:
        """Add work to its lane.

        Raises:
            OverloadedError: Too many queries wait already.
        """
        with self._changed:
            waiting = self._waiting[work.lane]
            if work.lane == "query" and waiting and waiting + work.tokens > self._max_tokens:
                if self._observer is not None:
                    self._observer.refused(work.lane)
                raise OverloadedError("the encoder")
            self._count(work.lane, work.tokens)
            self._lanes[work.lane].append(work)
            self._changed.notify()

    def take(self) -> list[Work]:
        """Wait for work and return what shares the next pass; nothing once closed.

        Work that nobody waits for any more is dropped.
        """
        with self._changed:
            while True:
                batch = self._next_batch()
                if batch or self._closed:
                    return batch
                self._changed.wait()

    def close(self) -> None:
        """Let ``take`` return nothing from now on; what still waits is cancelled."""
        with self._changed:
            self._closed = True
            for lane in self._lanes.values():
                for work in lane:
                    work.done.cancel()
                lane.clear()
            self._changed.notify_all()

    def _next_batch(self) -> list[Work]:
        queries, passages = self._lanes["query"], self._lanes["passage"]
        if queries and (self._in_a_row < PATIENCE or not passages):
            batch = self._first(queries)
            budget = QUERY_PASS_TOKENS - sum(work.tokens for work in batch)
            while batch and self._merge_queries and queries and queries[0].tokens <= budget:
                budget -= queries[0].tokens
                batch += self._first(queries, at_most=1)
            self._in_a_row += 1
            if batch:
                return batch
        self._in_a_row = 0
        return self._first(passages)

    def _first(self, lane: deque[Work], at_most: int | None = None) -> list[Work]:
        """Return the first work of a lane that somebody waits for, in a list of its own."""
        looked_at = 0
        while lane and looked_at != at_most:
            looked_at += 1
            work = lane.popleft()
            self._count(work.lane, -work.tokens)
            if self._observer is not None:
                self._observer.waited(work.lane, time.perf_counter() - work.since)
            if work.done.set_running_or_notify_cancel():
                return [work]
        return []

    def _count(self, lane: Lane, tokens: int) -> None:
        self._waiting[lane] += tokens
        if self._full_since is None and self._waiting["query"] >= FULL_SHARE * self._max_tokens:
            self._full_since = time.perf_counter()
        elif self._waiting["query"] < self._max_tokens / 2:
            self._full_since = None
        if self._observer is not None:
            self._observer.queued(lane, self._waiting[lane])
