import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from tests.app.api.problems import problem_of
from tests.app.telemetry.samples import Samples


async def test_a_request_id_is_taken_over_from_the_client(client):
    response = await client.get("/health/live", headers={"X-Request-ID": "order-66.a"})

    assert response.headers["x-request-id"] == "order-66.a"


@pytest.mark.parametrize("stated", ["", "two words", "<script>", "x" * 200, "a\tb"])
async def test_an_unusable_request_id_is_replaced(client, stated):
    response = await client.get("/health/live", headers={"X-Request-ID": stated})

    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


async def test_a_search_tells_its_stages_in_server_timing(stocked):
    response = await stocked.post("/v1/search", json={"query": "the hole"})

    timing = response.headers["server-timing"]
    for stage in ("language", "encode", "search", "calibrate", "page", "total"):
        assert re.search(rf"\b{stage};dur=\d+\.\d\d\b", timing), stage


@pytest.mark.parametrize("path", ["/health/live", "/", "/static/page.js", "/nowhere", "/metrics"])
async def test_every_response_carries_safe_headers(client, path):
    headers = (await client.get(path)).headers

    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("path", ["/search", "/v1/search"])
async def test_a_search_beyond_those_that_may_be_under_way_is_refused_at_once(
    serve, store, monkeypatch, path
):
    are_under_way, may_answer = asyncio.Semaphore(0), asyncio.Event()
    search = store.search

    async def slow_search(queries):
        are_under_way.release()
        await may_answer.wait()
        return await search(queries)

    monkeypatch.setattr(store, "search", slow_search)
    async with serve(max_searches=2) as client:
        admitted = [
            asyncio.create_task(client.post(path, json={"query": f"the hole {n}"}))
            for n in range(2)
        ]
        for _ in admitted:
            await are_under_way.acquire()
        refused = await client.post(path, json={"query": "the hole"})
        assert (await client.get("/health/live")).status_code == 200
        may_answer.set()
        assert [answer.status_code for answer in await asyncio.gather(*admitted)] == [200, 200]
        assert (await client.post(path, json={"query": "the hole"})).status_code == 200
        counted = Samples((await client.get("/metrics")).text)

    problem_of(refused, 429, "overloaded")
    assert counted.value("isoglot_searches_refused_total") == 1
    assert refused.headers["retry-after"] == "1"


async def test_a_body_that_states_too_large_a_size_is_refused(serve):
    async with serve(max_body_bytes=1024) as client:
        response = await client.post("/v1/search", json={"query": "x" * 2000})

    assert "1024" in problem_of(response, 413, "body_too_large")["detail"]


@pytest.mark.parametrize("path", ["/v1/search", "/v1/passages"])
async def test_a_body_that_does_not_state_its_size_is_refused_once_it_is_too_large(serve, path):
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 512
            yield b" " * 512

    async with serve(max_body_bytes=1024) as client:
        response = await client.post(
            path, content=endless(), headers={"Content-Type": "application/json"}
        )

    problem_of(response, 413, "body_too_large")
    assert sent < 10_000


async def test_a_body_of_just_the_allowed_size_is_taken(serve):
    body = b'{"query": "the hole"}'.ljust(1024)

    async with serve(max_body_bytes=1024) as client:
        response = await client.post(
            "/v1/search", content=body, headers={"Content-Type": "application/json"}
        )

    assert response.status_code == 200
