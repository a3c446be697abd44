"""What a call can fail with: one class for every way in which a caller may react."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NoReturn, TypeAlias

import httpx

Failure: TypeAlias = "httpx.Response | httpx.TransportError"


@dataclass(frozen=True, slots=True)
class ProblemItem:
    """One of several things that are wrong with a request.

    Attributes:
        pointer: JSON pointer into the request body.
        code: Stable code.
        detail: What is wrong there.
    """

    pointer: str
    code: str
    detail: str


class IsoglotClientError(Exception):
    """Base of all errors of this package."""


class ConnectionFailedError(IsoglotClientError):
    """The service could not be reached, or the connection broke, or it took too long."""


class IncompleteAnswerError(IsoglotClientError):
    """The answer of the service was cut off, or is not one that this version understands."""


class ServiceError(IsoglotClientError):
    """The service answered with an error.

    Attributes:
        status: HTTP status.
        code: Stable code to branch on, such as ``invalid_query``; empty where the answer did not
            come from the service, but from something in between.
        detail: What went wrong and what to do about it.
        request_id: Names the request in the logs of the service.
        items: Where several things are wrong: each of them.
        retry_after: Seconds to wait before trying again, where the service said so.
    """

    def __init__(self, response: httpx.Response) -> None:
        body = _problem(response)
        self.status = response.status_code
        self.code = str(body.get("code", ""))
        self.detail = str(body.get("detail", response.reason_phrase or "no explanation"))
        self.request_id = response.headers.get("x-request-id", "")
        self.items = tuple(
            ProblemItem(str(i.get("pointer", "")), str(i.get("code", "")), str(i.get("detail", "")))
            for i in body.get("errors", [])
            if isinstance(i, dict)
        )
        self.retry_after = retry_after(response)
        super().__init__(f"{self.status} {self.code}: {self.detail}".replace("  ", " "))


class InvalidRequestError(ServiceError):
    """The request cannot be understood or has a member that is out of range."""


class AuthenticationError(ServiceError):
    """An API key is needed, and there was none, or none that is valid."""


class NotAllowedError(ServiceError):
    """The API key does not have the scope that the call needs."""


class NotFoundError(ServiceError):
    """There is no such passage, or the service has no such operation."""


class ConflictError(ServiceError):
    """What is stored does not allow the call."""


class RateLimitedError(ServiceError):
    """The API key has used up its requests, or the service its capacity."""


class UnavailableError(ServiceError):
    """The service is not ready, or did not answer in time."""


_CLASSES: Mapping[int, type[ServiceError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    410: ConflictError,
    412: ConflictError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    422: InvalidRequestError,
    429: RateLimitedError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
    507: UnavailableError,
}


def raise_failure(failure: Failure) -> NoReturn:
    """Raise the error for an answer that is no success, or for a broken connection."""
    if isinstance(failure, httpx.Response):
        raise _CLASSES.get(failure.status_code, ServiceError)(failure)
    raise ConnectionFailedError(
        f"No answer from {failure.request.url} ({type(failure).__name__}: {failure}). Is this the "
        "address of the service, and does it run?"
    ) from failure


def retry_after(response: httpx.Response) -> float | None:
    """Return the seconds of ``Retry-After``; ``None`` where it is missing or a date."""
    stated = response.headers.get("retry-after", "")
    return float(stated) if stated.isdecimal() else None


def _problem(response: httpx.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {"detail": _phrase(response.status_code)}
    return body if isinstance(body, dict) else {"detail": _phrase(response.status_code)}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no explanation"
