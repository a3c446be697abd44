"""What every request gets: a name, a clock, safe headers, a line in the log."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import structlog
from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import problem_for
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

_SENT_HEADERS = [
    (name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()
]


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
            timing = _server_timing(self._scope["state"], self.seconds)
            own = list(message.get("headers", ()))
            named = {name for name, _ in own}
            message["headers"] = [
                *own,
                *(header for header in _SENT_HEADERS if header[0] not in named),
                (b"x-request-id", self._request_id.encode()),
                (b"server-timing", timing.encode()),
            ]
        await self._send(message)


def _request_id(scope: Scope) -> str:
    stated = Headers(scope=scope).get("x-request-id", "")
    return stated if _REQUEST_ID.match(stated) else uuid4().hex


def _server_timing(state: Mapping[str, Any], seconds: float) -> str:
    stages = {**state.get("stages", {}), "total": seconds * 1e3}
    return ", ".join(f"{stage};dur={ms:.2f}" for stage, ms in stages.items())
