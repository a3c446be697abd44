"""How large a body may be, and how slowly it may arrive."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import api_error, problem_for
from app.api.strict_json import NDJSON_MEDIA_TYPE, media_type


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
