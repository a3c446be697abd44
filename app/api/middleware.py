"""What every request passes through, from the outside in.

Plain ASGI: the framework's own middleware class buffers streams and hides the request body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.access import AccessControl, Keys
from app.api.admission import Admission
from app.api.body_limits import BodyClock, BodyLimit
from app.api.request_context import RequestContext
from app.core.access.rate_limit import RateLimit
from app.core.errors import IsoglotError
from app.telemetry.metrics import Metrics

CORS_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CORS_REQUEST_HEADERS = ("Authorization", "Content-Type", "X-API-Key", "X-Request-ID")
CORS_RESPONSE_HEADERS = (
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "X-Request-ID",
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
    """Put it all around an application; the last one added is outermost."""
    app.add_middleware(BodyClock, seconds=bounds.body_seconds)
    app.add_middleware(BodyLimit, max_bytes=bounds.max_body_bytes)
    app.add_middleware(
        Admission,
        most=bounds.max_searches,
        wait=bounds.max_wait,
        on_refusal=metrics.requests.refused,
    )
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
