"""Access control: which route needs which scope, and the middleware that sees to it.

The middleware decides before a byte of the body is read. A route without a row in ``POLICY``
needs the scope ``admin``, so that a forgotten row closes a door rather than opening one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Protocol

from fastapi import Depends, Request
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import problem_for
from app.api.problem import documented
from app.core.access import keys as access
from app.core.access.keys import UNRESTRICTED, Access, ApiKey, KeyRing
from app.core.access.rate_limit import RateLimit, RateLimiter, Ruling
from app.core.errors import AccessError, RateLimitedError, UnauthenticatedError

PUBLIC: Literal["public"] = "public"

POLICY: Mapping[tuple[str, str], access.Scope | Literal["public"]] = {
    ("POST", "/search"): "search",
    ("POST", "/v1/search"): "search",
    ("POST", "/v1/search:batch"): "search",
    ("GET", "/v1/passages"): "search",
    ("GET", "/v1/passages/{passage_id}"): "search",
    ("POST", "/v1/feedback"): "feedback",
    ("POST", "/v1/feedback:batch"): "feedback",
    ("POST", "/v1/passages"): "ingest",
    ("DELETE", "/v1/passages/{passage_id}"): "ingest",
    ("POST", "/v1/passages:count"): "search",
    ("POST", "/v1/passages:facets"): "search",
    ("POST", "/v1/passages:delete"): "ingest",
    ("GET", "/v1/collections/{name}"): "search",
    ("GET", "/v1/bundle"): "search",
    ("GET", "/v1/calibration"): "search",
    ("GET", "/v1/calibration/document"): "search",
    ("POST", "/v1/bundle:load"): "admin",
    ("GET", "/v1/reindex"): "admin",
    ("POST", "/v1/reindex"): "admin",
    ("DELETE", "/v1/reindex"): "admin",
    ("GET", "/v1/diagnostics/languages"): "search",
    ("POST", "/v1/embeddings"): "search",
    ("POST", "/v1/rerank"): "search",
    ("GET", "/metrics"): "metrics",
    ("GET", "/health/live"): PUBLIC,
    ("GET", "/health/ready"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/problems/{code}"): PUBLIC,
    ("GET", "/"): PUBLIC,
    ("GET", "/calibration"): PUBLIC,
    ("GET", "/static/{name}"): PUBLIC,
}
"""Method and path to the scope that a key must have; ``public`` needs no key."""

Charge = Callable[[int], None]
"""Takes further requests from the caller's rate limit, for a body that holds several."""

_CHALLENGE = 'Bearer realm="isoglot"'
_BODY_TIMEOUT = 408


class Keys(Protocol):
    """Where the keys come from."""

    def ring(self) -> KeyRing:
        """Return the keys that are accepted now."""
        ...


class AccessControl:
    """Lets a request through with what its key allows, or answers 401, 403 or 429.

    Args:
        app: What is guarded.
        keys: The keys; ``None`` lets everybody do everything.
        limit: Rate limit of keys that have none of their own.
        now: Reads the calendar, with time zone.
        clock: Seconds that do not go back.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys | None,
        limit: RateLimit | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._keys = keys
        self._limit = limit
        self._now = now
        self._clock = clock
        self._limiter = RateLimiter()
        self._routes: list[RouteContext] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan" or self._keys is None:
            scope.setdefault("state", {})["access"] = UNRESTRICTED
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._guard(scope, receive, send, self._keys)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _guard(self, scope: Scope, receive: Receive, send: Send, keys: Keys) -> None:
        needed = self._needed(scope)
        if needed == PUBLIC:
            scope["state"]["access"] = Access(scopes=frozenset())
            await self._app(scope, receive, send)
            return
        told: dict[str, str] = {}
        try:
            scope["state"]["access"] = self._admit(scope, needed, keys.ring(), told)
        except AccessError as error:
            response = problem_for(Request(scope), error)
            response.headers.update({**told, **_headers_of(error)})
            await response(scope, receive, send)
            return
        await self._app(scope, receive, _telling(send, told))

    def _needed(self, scope: Scope) -> access.Scope | Literal["public"]:
        """Return the scope that the route of a request needs; paths without route are public."""
        if (route := self._route(scope)) is None:
            # Routes may have been added since they were listed.
            self._routes = list(iter_route_contexts(scope["app"].routes))
            route = self._route(scope)
        if route is None:
            return PUBLIC
        scope["route"] = route.original_route
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        return POLICY.get((method, route.path_format or ""), "admin")

    def _route(self, scope: Scope) -> RouteContext | None:
        # The framework's own matching decides, so that no path can mean two routes.
        matching = (route for route in self._routes if route.matches(scope)[0] is Match.FULL)
        return next(matching, None)

    def _admit(
        self, scope: Scope, needed: access.Scope, ring: KeyRing, told: dict[str, str]
    ) -> Access:
        key = ring.identify(_token(Headers(scope=scope)), now=self._now())
        granted = Access(scopes=frozenset(key.scopes), tenant=key.tenant, key_id=key.id)
        scope["state"]["access"] = granted  # for the log line of a refused request, too
        granted.require(needed)
        limit = self._limit_of(key)
        if limit is not None:
            ruling = self._limiter.take(key.id, limit, now=self._clock())
            told.update(_rate_headers(limit, ruling))
            if not ruling.allowed:
                raise RateLimitedError(ruling.retry_after)
            scope["state"]["charge"] = self._charge(key.id, limit, told)
        return granted

    def _charge(self, caller: str, limit: RateLimit, told: dict[str, str]) -> Charge:
        """Return how a route says that its request was more than one."""

        def charge(requests: int) -> None:
            ruling = self._limiter.owe(caller, limit, requests, now=self._clock())
            told.update(_rate_headers(limit, ruling))

        return charge

    def _limit_of(self, key: ApiKey) -> RateLimit | None:
        if key.requests_per_minute is None:
            return self._limit
        return RateLimit.of(key.requests_per_minute, key.burst)


def access_of(request: Request) -> Access:
    """Return what a request may do."""
    granted = request.state.access
    assert isinstance(granted, Access)
    return granted


def charge_of(request: Request) -> Charge:
    """Return what takes further requests from the caller's rate limit, if it has one."""
    charge: Charge = getattr(request.state, "charge", _no_charge)
    return charge


def _no_charge(requests: int) -> None:
    """Take nothing: the caller has no limit."""


async def _access(request: Request) -> Access:
    return access_of(request)


AccessDep = Annotated[Access, Depends(_access)]


def describe_access(document: dict[str, Any]) -> None:
    """Write into an API description which key every operation needs, and how it is refused."""
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["bearer"] = {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key. Without configured keys the service needs none, and answers "
        "this machine only.",
    }
    schemes["apiKey"] = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            needed = POLICY.get((method.upper(), path), "admin")
            if needed == PUBLIC:
                continue
            operation["security"] = [{"bearer": [needed]}, {"apiKey": [needed]}, {}]
            slow = (_BODY_TIMEOUT,) if "requestBody" in operation else ()
            _add_refusals(operation["responses"], documented(401, 403, *slow, 429))


def _add_refusals(responses: dict[str, Any], refusals: Mapping[int | str, Any]) -> None:
    for status, response in refusals.items():
        responses.setdefault(str(status), response)
    # In numerical order, as a reader expects them.
    ordered = {status: responses[status] for status in sorted(responses)}
    responses.clear()
    responses.update(ordered)


def _token(headers: Headers) -> str | None:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get("x-api-key")


def _headers_of(error: AccessError) -> dict[str, str]:
    if isinstance(error, UnauthenticatedError):
        return {"WWW-Authenticate": _CHALLENGE}
    if isinstance(error, RateLimitedError):
        return {"Retry-After": str(error.retry_after)}
    return {}


def _rate_headers(limit: RateLimit, ruling: Ruling) -> dict[str, str]:
    """Return the headers of draft-ietf-httpapi-ratelimit-headers."""
    return {
        "RateLimit-Policy": f'"key";q={limit.burst};w={limit.window}',
        "RateLimit": f'"key";r={ruling.remaining};t={ruling.retry_after}',
    }


def _telling(send: Send, headers: Mapping[str, str]) -> Send:
    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(raw=message.setdefault("headers", [])).update(headers)
        await send(message)

    return tell
