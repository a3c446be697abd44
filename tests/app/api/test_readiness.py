"""Readiness of a service that has started: it falls when the encoder hangs, and rises again."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import pytest

from app.core import encoding
from tests.app.api.problems import problem_of
from tests.fakes import FakeEncoder

READY = "isoglot_ready "


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """What the encoder waits for in every pass over passages; open at first."""
    opened = threading.Event()
    opened.set()
    encode = FakeEncoder.encode_passages

    def wait(self, texts):
        opened.wait(60)
        return encode(self, texts)

    monkeypatch.setattr(FakeEncoder, "encode_passages", wait)
    monkeypatch.setattr(encoding, "HANGING_SECONDS", 0.05)
    return opened


async def until_not_ready(client: httpx.AsyncClient) -> httpx.Response:
    deadline = time.monotonic() + 60
    while (answer := await client.get("/health/ready")).is_success:
        assert time.monotonic() < deadline, "it was ready all along"
        await asyncio.sleep(0.01)
    return answer


async def stated(client: httpx.AsyncClient) -> str:
    lines = (await client.get("/metrics")).text.splitlines()
    return next(line.removeprefix(READY) for line in lines if line.startswith(READY))


async def test_readiness_falls_while_the_encoder_hangs_and_recovers_after(serve, gate):
    async with serve() as client:
        assert (await client.get("/health/ready")).is_success
        gate.clear()
        upload = asyncio.create_task(client.post("/v1/passages", json=[{"id": "a", "text": "b"}]))
        problem = problem_of(await until_not_ready(client), 503, "not_ready")
        assert "The encoder hangs" in problem["detail"]
        assert await stated(client) == "0.0"
        assert (await client.get("/health/live")).is_success

        gate.set()
        assert (await upload).is_success
        assert (await client.get("/health/ready")).is_success
        assert await stated(client) == "1.0"
