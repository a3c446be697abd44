"""What every error response must look like."""

from typing import Any

import httpx

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"}


def problem_of(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check the form of an error response, and return its body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) == MEMBERS
    assert body["status"] == status
    assert body["code"] == code
    assert body["type"] == f"/problems/{code}"
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["instance"] == response.request.url.path
    assert body["title"]
    assert body["detail"]
    return body


def pointers(body: dict[str, Any]) -> list[str]:
    return [item["pointer"] for item in body["errors"]]
