"""The route of searches, which does what the framework's does in less time.

The framework works out anew for every request which arguments an endpoint takes. Those of a search
are known, and where a request is as it should be, they are put together here; in every other case,
and where requests are traced, the framework handles it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from opentelemetry import trace

from app.api.readiness import api_state, leased
from app.api.strict_json import (
    JSON_MEDIA_TYPE,
    JsonRoute,
    StrictRequest,
    read_json,
    require_media_type,
)


def is_traced() -> bool:
    """Return whether this request is traced: the framework has spans of its own for it."""
    return trace.get_current_span().is_recording()


class SearchRoute(JsonRoute):
    """A route whose endpoint takes what ``routes/search.py`` takes, and returns a whole response.

    That is ``body``, ``request``, ``services``, ``metrics`` and ``accept_language``.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Handle ordinary requests here, and let the framework handle the others."""
        ordinary = super().get_route_handler()
        field, endpoint = self.body_field, self.endpoint
        assert field is not None, self.path

        async def direct(request: Request) -> Response:
            if is_traced():
                return await ordinary(request)
            require_media_type(request, JSON_MEDIA_TYPE)
            # It keeps the body that it has read, for the framework if need be.
            strict = StrictRequest(request.scope, request.receive)
            if not await strict.body():
                return await ordinary(strict)
            body, errors = field.validate(await read_json(strict), {}, loc=("body",))
            if errors:
                return await ordinary(strict)
            with leased(strict) as services:
                response = await endpoint(
                    body=body,
                    request=strict,
                    services=services,
                    metrics=api_state(strict).metrics,
                    accept_language=strict.headers.get("accept-language"),
                )
            assert isinstance(response, Response)
            return response

        return direct
