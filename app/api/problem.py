"""Problem details: the form of every error body (RFC 9457, ``application/problem+json``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import HTTPException, Response
from pydantic import BaseModel, Field

PROBLEM_MEDIA_TYPE = "application/problem+json"


class ProblemItem(BaseModel):
    """One of several things that are wrong with a request."""

    pointer: str = Field(
        description="JSON pointer into the request body; empty for the body as a whole.",
        examples=["/language/query"],
    )
    code: str = Field(
        description="Stable code of this item.", examples=["missing", "extra_forbidden"]
    )
    detail: str = Field(description="What is wrong there.", examples=["Field required"])


class Problem(BaseModel):
    """An error, as RFC 9457 describes it, with a stable code."""

    type: str = Field(
        description="Address of an explanation of this kind of problem.",
        examples=["/problems/invalid_query"],
    )
    title: str = Field(description="The kind of problem in words; the same for every occurrence.")
    status: int = Field(description="HTTP status code.", examples=[422])
    detail: str = Field(description="What went wrong this time, and what to do about it.")
    instance: str = Field(description="Path of the request.", examples=["/v1/search"])
    code: str = Field(description="Stable code to branch on.", examples=["invalid_query"])
    request_id: str = Field(description="Names this request in the logs (header X-Request-ID).")
    errors: list[ProblemItem] = Field(
        default=[], description="Where several things are wrong: each of them."
    )


class ApiError(HTTPException):
    """An error that only a web service has; ``problem_kinds.py`` tabulates its code.

    Args:
        code: A key of that table.
        detail: What went wrong and what to do about it.
        status: HTTP status of that code.
        errors: Each single problem, where there are several.
        headers: Headers of the response.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int,
        errors: Sequence[ProblemItem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.code = code
        self.errors = list(errors)


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem as an HTTP response."""
    return Response(
        problem.model_dump_json(),
        status_code=problem.status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers=dict(headers or {}),
    )


def escape_pointer(member: str | int) -> str:
    """Return one step of a JSON pointer (RFC 6901)."""
    return str(member).replace("~", "~0").replace("/", "~1")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route that may answer with these problems."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _DESCRIPTIONS[status], "content": content} for status in statuses
    }


def answered(
    examples: Mapping[str, Any], headers: Mapping[str, Any] | None = None
) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI response of a route that answers with JSON.

    Args:
        examples: Named examples of the body.
        headers: Name of a header to its description.
    """
    response: dict[str, Any] = {"content": {"application/json": {"examples": examples}}}
    return {200: response if headers is None else {**response, "headers": headers}}


_DESCRIPTIONS = {
    400: "The body is not JSON, or a filter or cursor in it is malformed.",
    401: "An API key is needed, and there is none, or none that is valid.",
    403: "The API key does not have the scope that this needs.",
    404: "There is no such thing.",
    405: "The path exists, but not with this method; `Allow` names those it has.",
    408: "The body did not arrive in time.",
    409: "The collection was indexed with another encoder than the one that is loaded, or a filter "
    "selects another number of passages than expected.",
    410: "The answer that the cursor continues is not kept any more.",
    413: "The body, or the number of passages in it, is too large.",
    415: "The body is of a media type that is not understood here.",
    422: "The body is JSON, but not a valid request; `errors` points to what is wrong.",
    429: "The API key has used up its requests, or the service is overloaded; try again after "
    "`Retry-After` seconds.",
    500: "The service failed; the log has the cause under this `request_id`.",
    503: "The service is not ready; try again after `Retry-After` seconds.",
    504: "The search took longer than `timeout_ms`.",
    507: "There is too little room on the disk that passages are stored on; searches go on.",
}
