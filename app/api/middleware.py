"""What happens to every request: a name, a limit, a clock, safe headers, a line in the log.

Plain ASGI: the framework's own middleware class buffers streams and hides the request body.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog
from fastapi import FastAPI, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.access import AccessControl, Keys
from app.api.errors import api_error, problem_for
from app.api.strict_json import NDJSON_MEDIA_TYPE, media_type
from app.core.access.rate_limit import RateLimit
from app.core.errors import IsoglotError, OverloadedError
from app.telemetry.metrics import Metrics

_log = structlog.stdlib.get_logger("isoglot.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET_ROUTES = frozenset({"/health/live", "/health/ready", "/metrics"})
UNMATCHED_ROUTE = "unmatched"

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every response that does not set them itself."""


BOUNDED_PATHS = frozenset(
    {"/search", "/v1/search", "/v1/search:batch", "/v1/embeddings", "/v1/rerank"}
)
"""Paths whose requests are refused where too many are under way: those that need the encoder."""

CORS_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CORS_REQUEST_HEADERS = ("Authorization", "Content-Type", "X-API-Key", "X-Request-ID")
CORS_RESPONSE_HEADERS = (
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "X-Request-ID",
)


class RequestContext:
    """Names and times each request, turns unknown errors into a 500, and counts what happened."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        exchange = _Exchange(scope, send, request_id)
        self._metrics.requests.began()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, exchange.send)
            except Exception as error:
                _log.exception("unhandled_error")
                if exchange.status is not None:
                    raise  # Half a response is out: only the server can still cut it off.
                response = problem_for(Request(scope), error)
                await response(scope, receive, exchange.send)
            finally:
                self._record(scope, exchange)

    def _record(self, scope: Scope, exchange: _Exchange) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = getattr(scope.get("route"), "path_format", UNMATCHED_ROUTE)
        # 499: the client left before there was an answer.
        status = 499 if exchange.status is None else exchange.status
        seconds = exchange.seconds
        self._metrics.requests.answered(route=route, method=method, status=status, seconds=seconds)
        write = _log.debug if route in _QUIET_ROUTES else _log.info
        key = getattr(scope["state"].get("access"), "key_id", None)
        shown = {} if key is None else {"key": key}
        write(
            "request",
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1e3, 2),
            **shown,
        )


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
        clock: Seconds that do not go back.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        most: int,
        wait: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._most = most
        self._wait = wait
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


class BodyLimit:
    """Refuses bodies above a size, also those that do not state it; NDJSON is limited by line."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or media_type(Request(scope)) == NDJSON_MEDIA_TYPE:
            await self._app(scope, receive, send)
            return
        stated = Headers(scope=scope).get("content-length", "0")
        if stated.isdecimal() and int(stated) > self._max_bytes:
            response = problem_for(Request(scope), self._too_large())
            await response(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> Exception:
        return api_error(
            "body_too_large",
            f"The body has more than {self._max_bytes} bytes. Send smaller requests, or stream "
            f"passages as {NDJSON_MEDIA_TYPE}.",
            headers={"Connection": "close"},
        )


class BodyClock:
    """Gives up on bodies that do not go on arriving: a client may be slow, but not silent."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_complete = has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        async def timed() -> Message:
            nonlocal is_complete
            if is_complete:  # What is waited for now is that the client leaves.
                return await receive()
            try:
                async with asyncio.timeout(self._seconds):
                    message = await receive()
            except TimeoutError:
                if has_begun:  # Half an answer is out, so there is no status to send any more.
                    return {"type": "http.disconnect"}
                raise self._too_slow() from None
            is_complete = not message.get("more_body", False)
            return message

        await self._app(scope, timed, watched)

    def _too_slow(self) -> Exception:
        return api_error(
            "body_timeout",
            f"No part of the body arrived for {self._seconds:g} seconds.",
            headers={"Connection": "close"},
        )


class StartFailure:
    """Tells the server in one line why the application cannot start, not with a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on but failed starts."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        failed: list[Message] = []

        async def keep_failures(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                failed.append(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, keep_failures)
        except IsoglotError as error:
            if not failed:
                raise
            await send({"type": "lifespan.startup.failed", "message": str(error)})
        except Exception:
            for message in failed:
                await send(message)
            raise


class _Exchange:
    """One request and its response, as seen from outside."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self.status: int | None = None
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-ID"] = self._request_id
            headers["Server-Timing"] = _server_timing(self._scope["state"], self.seconds)
            message["headers"] = headers.raw
        await self._send(message)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What requests are held to.

    Attributes:
        max_body_bytes: Largest body that is not NDJSON.
        body_seconds: Longest pause within a body.
        keys: API keys; ``None`` lets everybody do everything.
        rate_limit: That of keys without their own.
        cors_origins: Origins whose pages may call; none by default.
        max_searches: Searches and embeddings that may be under way at a time.
        max_wait: Seconds that one may have to wait for those before it; see ``Admission``.
    """

    max_body_bytes: int
    body_seconds: float
    keys: Keys | None = None
    rate_limit: RateLimit | None = None
    cors_origins: Sequence[str] = ()
    max_searches: int = 256
    max_wait: float = 0.1


def add_middleware(app: FastAPI, *, metrics: Metrics, bounds: Bounds) -> None:
    """Put everything of this module around an application; the last one added is outermost."""
    app.add_middleware(BodyClock, seconds=bounds.body_seconds)
    app.add_middleware(BodyLimit, max_bytes=bounds.max_body_bytes)
    app.add_middleware(Admission, most=bounds.max_searches, wait=bounds.max_wait)
    app.add_middleware(AccessControl, keys=bounds.keys, limit=bounds.rate_limit)
    if bounds.cors_origins:
        # Outside of access control: a preflight carries no key, and a refusal must be readable.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(bounds.cors_origins),
            allow_methods=CORS_METHODS,
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_RESPONSE_HEADERS,
        )
    app.add_middleware(RequestContext, metrics=metrics)
    app.add_middleware(StartFailure)


def _request_id(scope: Scope) -> str:
    stated = Headers(scope=scope).get("x-request-id", "")
    return stated if _REQUEST_ID.match(stated) else uuid4().hex


def _server_timing(state: Mapping[str, Any], seconds: float) -> str:
    stages = {**state.get("stages", {}), "total": seconds * 1e3}
    return ", ".join(f"{stage};dur={ms:.2f}" for stage, ms in stages.items())
