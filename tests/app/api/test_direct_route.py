"""Searches are handled without the framework's help where a caller cannot tell."""

from typing import Any

import httpx
import pytest

from app.api import direct_route

JSON = {"Content-Type": "application/json"}
REQUESTS = {
    "ordinary": {"json": {"query": "moon"}},
    "with a header that counts": {
        "json": {"query": "moon", "language": {"mode": "prefer"}},
        "headers": {"Accept-Language": "de"},
    },
    "refused by the core": {"json": {"query": "moon", "limit": 0}},
    "of a wrong type": {"json": {"query": 3}},
    "with an unknown member": {"json": {"query": "moon", "unknown": 1}},
    "no object": {"json": []},
    "empty": {"content": b"", "headers": JSON},
    "no JSON": {"content": b"{", "headers": JSON},
    "of another media type": {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
    "without a media type": {"content": b"{}"},
}


def comparable(answer: httpx.Response) -> tuple[int, str, dict[str, Any]]:
    body = answer.json()
    for member in ("query_id", "took_ms", "request_id"):
        body.pop(member, None)
    for hit in body.get("hits", ()):
        del hit["feedback_token"]
    return answer.status_code, answer.headers["content-type"], body


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("path", ["/search", "/v1/search"])
async def test_the_answer_is_the_one_that_the_framework_gives(stocked, monkeypatch, path, request_):
    directly = await stocked.post(path, **request_)
    monkeypatch.setattr(direct_route, "is_traced", lambda: True)
    by_framework = await stocked.post(path, **request_)
    assert comparable(directly) == comparable(by_framework)


@pytest.mark.parametrize(("is_traced", "status"), [(True, 500), (False, 200)])
async def test_an_ordinary_search_needs_the_framework_where_it_is_traced_alone(
    stocked, monkeypatch, is_traced, status
):
    monkeypatch.setattr(direct_route, "is_traced", lambda: is_traced)
    monkeypatch.setattr("fastapi.routing.solve_dependencies", None)
    answer = await stocked.post("/search", json={"query": "moon"})
    assert answer.status_code == status
