"""Refusing at once what would wait for too long."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import problem_for
from app.core.errors import OverloadedError

BOUNDED_PATHS = frozenset(
    {"/search", "/v1/search", "/v1/search:batch", "/v1/embeddings", "/v1/rerank"}
)
"""Paths whose requests are refused where too many are under way: those that need the encoder."""

ALWAYS_ADMITTED = 32
"""So many searches may be under way however long they take, unless fewer are set."""

_NEWEST_SHARE = 1 / 64


class Admission:
    """Refuses searches at once that would wait for too long, instead of letting all wait.

    What is admitted is answered about as quickly as under a load that the service can bear. How
    long a search would wait is the number of those under way times the mean time from one answer
    to the next, while there was another one to be given.

    Args:
        app: What answers.
        most: Searches under way at most.
        wait: Seconds that a search may have to wait, where more than ``ALWAYS_ADMITTED`` are
            under way.
        on_refusal: Learns of every refusal.
        clock: Seconds that do not go back.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        most: int,
        wait: float,
        on_refusal: Callable[[], object],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._most = most
        self._wait = wait
        self._on_refusal = on_refusal
        self._clock = clock
        self._under_way = 0
        self._pace = 0.0
        self._last_answer: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] not in BOUNDED_PATHS:
            await self._app(scope, receive, send)
            return
        if not self._admits():
            self._on_refusal()
            refusal = problem_for(Request(scope), OverloadedError("the service"))
            await refusal(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1
            self._note_answer()

    def _admits(self) -> bool:
        if self._under_way >= self._most:
            return False
        return self._under_way < ALWAYS_ADMITTED or self._under_way * self._pace <= self._wait

    def _note_answer(self) -> None:
        now = self._clock()
        if self._last_answer is not None:
            self._pace += _NEWEST_SHARE * (now - self._last_answer - self._pace)
        # With nothing under way, the time to the next answer says how many ask, not how long it
        # takes.
        self._last_answer = now if self._under_way else None
