"""Request bodies: the media type is checked before a body is read, and JSON is taken strictly.

The parser of the standard library lets NaN, Infinity and lone surrogates through; this one does
not, so nothing behind it can meet them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from email.message import Message
from functools import lru_cache
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import JsonValue
from pydantic_core import from_json

from app.api.errors import api_error

JSON_MEDIA_TYPE = "application/json"
NDJSON_MEDIA_TYPE = "application/x-ndjson"


class MalformedJsonError(ValueError):
    """Bytes that are not JSON; the message says where and why."""


def parse_json(raw: bytes) -> JsonValue:
    """Return what a JSON text says.

    Raises:
        MalformedJsonError: It is not JSON as RFC 8259 defines it: NaN and Infinity, invalid
            UTF-8, half a surrogate pair, or nested deeper than 200 levels.
    """
    try:
        value: JsonValue = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        hint = ""
        if any(word in raw for word in (b"NaN", b"Infinity")):
            hint = " (NaN and Infinity are not JSON; leave the member out or send null)"
        raise MalformedJsonError(f"{error}{hint}") from error
    return value


def media_type(request: Request) -> str:
    """Return the media type of the body without parameters, lower case; empty if not named."""
    named = request.headers.get("content-type")
    return _media_type(named) if named else ""


@lru_cache(maxsize=256)
def _media_type(named: str) -> str:
    header = Message()
    header["content-type"] = named
    return header.get_content_type()


def require_media_type(request: Request, *accepted: str) -> str:
    """Return the media type of the body.

    Raises:
        ApiError: It is none of ``accepted``, or the body is compressed and not NDJSON (415).
    """
    found = media_type(request)
    encoding = content_encoding(request)
    if encoding not in (("identity", "gzip") if found == NDJSON_MEDIA_TYPE else ("identity",)):
        raise api_error(
            "unsupported_media_type",
            f"Content-Encoding {encoding} is not supported here; send the body uncompressed, or "
            f"passages as {NDJSON_MEDIA_TYPE} with gzip.",
            headers={"Accept-Encoding": "identity"},
        )
    if found not in accepted:
        named = f"Content-Type is {found}" if found else "Content-Type is missing"
        raise api_error(
            "unsupported_media_type",
            f"{named}; send {' or '.join(accepted)}.",
            headers={"Accept-Post": ", ".join(accepted)},
        )
    return found


def content_encoding(request: Request) -> str:
    """Return how the body is compressed, lower case; ``identity`` where it is not."""
    return request.headers.get("content-encoding", "identity").lower()


async def read_json(request: Request) -> JsonValue:
    """Read the whole body as JSON.

    Raises:
        ApiError: It is not JSON (400) or too large (413).
    """
    try:
        return parse_json(await request.body())
    except MalformedJsonError as error:
        raise api_error("malformed_json", f"The body is not JSON: {error}.") from error


class StrictRequest(Request):
    """A request whose body is read as strict JSON."""

    async def json(self) -> JsonValue:
        """Return what the body says; raises as ``read_json``."""
        return await read_json(self)


class JsonRoute(APIRoute):
    """A route whose body, if it declares one, is strict JSON named as such."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler of the framework."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def strict(request: Request) -> Response:
            require_media_type(request, JSON_MEDIA_TYPE)
            if not isinstance(request, StrictRequest):
                request = StrictRequest(request.scope, request.receive)
            return await handle(request)

        return strict
