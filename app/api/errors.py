"""Errors to problem bodies, by the table in ``problem_kinds.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from app.api.problem import ApiError, Problem, ProblemItem, escape_pointer, problem_response
from app.api.problem_kinds import API_KINDS, KINDS, code_of
from app.core import errors as core

_log = structlog.stdlib.get_logger(__name__)

MAX_ITEMS = 50
"""Most items in the ``errors`` of one problem."""


_CODE_OF_STATUS = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_FOR_OPERATORS = (500, 507)
"""Statuses of problems that no caller can mend: they are logged as errors."""

_RETRY_AFTER = {503: {"Retry-After": "2"}}


def api_error(code: str, detail: str, headers: Mapping[str, str] | None = None) -> ApiError:
    """Return an error of the web service, with the status of its code."""
    return ApiError(code, detail, status=API_KINDS[code].status, headers=headers)


def problem_for(request: Request, error: Exception) -> Response:
    """Return the problem body for any error; an unknown one says nothing of its cause."""
    match error:
        case core.IsoglotError():
            return _core_problem(request, error)
        case RequestValidationError():
            return _validation_problem(request, error)
        case HTTPException():
            return _http_problem(request, error)
        case _:
            return _problem(
                request,
                "internal_error",
                "The service failed. The log has the cause under this request id.",
            )


def install_error_handlers(app: FastAPI) -> None:
    """Answer every known error with a problem body; the middleware sees to the unknown ones."""

    async def handle(request: Request, error: Exception) -> Response:
        return problem_for(request, error)

    for cls in (core.IsoglotError, RequestValidationError, HTTPException):
        app.add_exception_handler(cls, handle)


# Where pydantic's own words do not say what to do.
_PLAINER = {
    "extra_forbidden": "There is no such member here; /openapi.json lists those that there are.",
    "missing": "This is needed, and missing.",
}


def validation_items(errors: Sequence[Mapping[str, Any]], *, root: str = "") -> list[ProblemItem]:
    """Return pydantic's errors as problem items.

    Args:
        errors: From ``ValidationError.errors()``.
        root: JSON pointer to the value that was validated.
    """
    return [
        ProblemItem(
            pointer=root + "".join(f"/{escape_pointer(step)}" for step in error["loc"]),
            code=error["type"],
            detail=_PLAINER.get(error["type"], error["msg"]),
        )
        for error in errors[:MAX_ITEMS]
    ]


def summary(items: Sequence[ProblemItem]) -> str:
    """Return one sentence about the first of several items."""
    first = items[0]
    place = f"{first.pointer}: " if first.pointer else ""
    more = f" ({len(items) - 1} more in errors)" if len(items) > 1 else ""
    return f"{place}{first.detail}{more}"


def invalid_request(items: Sequence[ProblemItem], code: str = "invalid_request") -> ApiError:
    """Return the error for a body that is JSON but has these problems; at least one."""
    kind = KINDS[code]
    return ApiError(code, summary(items), status=kind.status, errors=items)


def _core_problem(request: Request, error: core.IsoglotError) -> Response:
    code = code_of(error)
    if KINDS[code].status in _FOR_OPERATORS:
        _log.error("request_failed", code=code, exc_info=error)
    items = []
    if isinstance(error, core.InvalidInputError):
        items = [ProblemItem(pointer=error.pointer, code=code, detail=str(error))]
    headers = {}
    if isinstance(error, core.OverloadedError):
        headers["Retry-After"] = str(error.retry_after)
    return _problem(request, code, str(error), items, headers)


def _validation_problem(request: Request, error: RequestValidationError) -> Response:
    # The first step of a location says where the value came from: body, path, query or header.
    items = validation_items([{**e, "loc": e["loc"][1:]} for e in error.errors()])
    return _problem(request, "invalid_request", summary(items), items)


def _http_problem(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if isinstance(error, ApiError):
        return _problem(request, error.code, error.detail, error.errors, headers)
    unlisted = "bad_request" if error.status_code < 500 else "internal_error"
    code = _CODE_OF_STATUS.get(error.status_code, unlisted)
    detail = error.detail
    if code == "not_found":
        detail = f"There is nothing at {request.url.path}. /openapi.json lists what there is."
    if code == "method_not_allowed":
        headers["Allow"] = ", ".join(_allowed_methods(request))
        detail = f"Use {headers['Allow']} on {request.url.path}, not {request.method}."
    return _problem(request, code, detail, headers=headers)


def _allowed_methods(request: Request) -> list[str]:
    # The framework names only the methods of the first route with this path.
    routes: Sequence[BaseRoute] = request.app.routes
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes
        )
    ]


def _problem(
    request: Request,
    code: str,
    detail: str,
    items: Sequence[ProblemItem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    kind = KINDS[code]
    problem = Problem(
        type=f"/problems/{code}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=request.url.path,
        code=code,
        request_id=getattr(request.state, "request_id", ""),
        errors=list(items),
    )
    return problem_response(problem, {**_RETRY_AFTER.get(kind.status, {}), **(headers or {})})
