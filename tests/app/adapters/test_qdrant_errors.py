from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from app.adapters.qdrant.errors import classify


def grpc_error(code: grpc.StatusCode, details: str = "what went wrong") -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details=details)


@pytest.mark.parametrize(
    ("code", "is_transient"),
    [
        (grpc.StatusCode.UNAVAILABLE, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, True),
        (grpc.StatusCode.INTERNAL, True),
        (grpc.StatusCode.INVALID_ARGUMENT, False),
        (grpc.StatusCode.NOT_FOUND, False),
    ],
)
def test_a_grpc_status_says_whether_to_try_again(code, is_transient):
    failure = classify(grpc_error(code))

    assert failure.is_transient is is_transient
    assert failure.reason == f"Qdrant answered {code.name}: what went wrong"


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED]
)
def test_a_key_refused_over_grpc_names_the_setting(code):
    failure = classify(grpc_error(code))

    assert not failure.is_transient
    assert "ISOGLOT_QDRANT_API_KEY" in failure.reason


def test_an_error_of_the_client_itself_is_told_in_one_line_and_lasts():
    failure = classify(ValueError("wrong\n  argument"))

    assert (failure.reason, failure.is_transient) == ("wrong argument", False)
