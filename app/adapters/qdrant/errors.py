"""What the Qdrant client raises, in words of our own."""

from __future__ import annotations

import json

import grpc
import httpx
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from app.adapters.resilience import Failure

_TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_KEY_STATUS = frozenset({401, 403})
_TRANSIENT_GRPC = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
    }
)
_KEY_GRPC = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
_BAD_KEY = (
    "Qdrant refused the API key ({detail}). Check ISOGLOT_QDRANT_API_KEY or "
    "ISOGLOT_QDRANT_API_KEY_FILE; a read-only key is not enough."
)
_MAX_DETAIL = 300


def classify(error: Exception) -> Failure:
    """Say what an exception of the client means; it never quotes more than a line of it."""
    match error:
        case ResourceExhaustedResponse():
            return Failure(
                f"Qdrant asks to wait ({error}).",
                is_transient=True,
                retry_after=float(error.retry_after_s),
            )
        case UnexpectedResponse():
            return _status(error)
        case ResponseHandlingException(source=source):
            return _no_answer(source)
        case grpc.aio.AioRpcError():
            return _grpc(error)
        case httpx.HTTPError() | OSError() | json.JSONDecodeError() | UnicodeDecodeError():
            return _no_answer(error)
        case _:
            # The client checks arguments itself, and its local mode does not speak HTTP.
            return Failure(f"{_line(str(error)) or type(error).__name__}", is_transient=False)


def _status(error: UnexpectedResponse) -> Failure:
    detail = _detail(error)
    if error.status_code in _KEY_STATUS:
        return Failure(_BAD_KEY.format(detail=detail), is_transient=False)
    return Failure(
        f"Qdrant answered {error.status_code}: {detail}",
        is_transient=error.status_code in _TRANSIENT_STATUS,
    )


def _grpc(error: grpc.aio.AioRpcError) -> Failure:
    status, detail = error.code(), _line(error.details() or "")
    if status in _KEY_GRPC:
        return Failure(_BAD_KEY.format(detail=detail), is_transient=False)
    return Failure(
        f"Qdrant answered {status.name}: {detail}", is_transient=status in _TRANSIENT_GRPC
    )


def _no_answer(source: Exception) -> Failure:
    if isinstance(source, httpx.TimeoutException):
        return Failure("Qdrant did not answer in time.", is_transient=True)
    if isinstance(source, httpx.TransportError | OSError):
        return Failure(
            f"Qdrant cannot be reached ({_line(str(source)) or type(source).__name__}).",
            is_transient=True,
        )
    # Its answer is no JSON, or not of the shape that the client knows: cut off or corrupted.
    return Failure("Qdrant sent an answer that cannot be read.", is_transient=True)


def _detail(error: UnexpectedResponse) -> str:
    try:
        status = json.loads(error.content)["status"]
        return _line(str(status["error"]))
    except (ValueError, KeyError, TypeError):
        return _line(error.reason_phrase)


def _line(text: str) -> str:
    return " ".join(text.split())[:_MAX_DETAIL]
