"""Searches that would wait for too long are refused at once."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.api.admission import ALWAYS_ADMITTED, Admission

PACE = 0.01


class Answering:
    """An application that answers in the order of the requests, one whenever it is told to."""

    def __init__(self, *, most: int = 1000, wait: float = 1.0) -> None:
        self.now = 0.0
        self.statuses: list[int] = []
        self._turns: list[asyncio.Event] = []
        self._asked: list[asyncio.Task[None]] = []
        self.refusals = 0
        self._admission = Admission(
            self._app, most=most, wait=wait, on_refusal=self._refuse, clock=lambda: self.now
        )

    def _refuse(self) -> None:
        self.refusals += 1

    async def ask(self, count: int, *, path: str = "/search") -> None:
        """Send requests."""
        scope = {"type": "http", "path": path, "headers": [], "state": {}}
        for _ in range(count):
            call = self._admission({**scope}, _nothing_more, self._note)
            self._asked.append(asyncio.create_task(call))
        await asyncio.sleep(0)

    async def answer(self, count: int) -> None:
        """Answer the oldest requests, one every ``PACE`` seconds."""
        for _ in range(count):
            self.now += PACE
            self._turns.pop(0).set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    @property
    def under_way(self) -> int:
        return len(self._turns)

    async def end(self) -> None:
        await self.answer(self.under_way)
        await asyncio.gather(*self._asked)

    async def _app(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
        turn = asyncio.Event()
        self._turns.append(turn)
        await turn.wait()

    async def _note(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.statuses.append(message["status"])


async def _nothing_more() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_few_searches_are_admitted_however_long_they_take():
    service = Answering(wait=PACE)
    await service.ask(3)
    await service.answer(2)
    await service.ask(ALWAYS_ADMITTED - 1)
    assert (service.under_way, service.statuses) == (ALWAYS_ADMITTED, [])
    await service.end()


async def test_more_are_admitted_as_long_as_they_need_not_wait():
    service = Answering(wait=60 * PACE)
    await service.ask(ALWAYS_ADMITTED)
    for _ in range(500):  # long enough to know how quickly it answers
        await service.answer(1)
        await service.ask(1)
    await service.ask(100)
    assert service.under_way == pytest.approx(60, abs=2)
    assert service.statuses == [429] * (100 + ALWAYS_ADMITTED - service.under_way)
    assert service.refusals == len(service.statuses)
    await service.end()


async def test_time_in_which_nothing_is_asked_is_no_time_that_searches_take():
    service = Answering(wait=60 * PACE)
    for _ in range(500):
        await service.ask(2)
        await service.answer(2)
        service.now += 1000 * PACE
    await service.ask(50)
    assert (service.under_way, service.statuses) == (50, [])
    await service.end()


async def test_never_more_are_under_way_than_is_set():
    service = Answering(most=5)
    await service.ask(7)
    assert (service.under_way, service.statuses) == (5, [429, 429])
    await service.end()
    await service.ask(1)
    assert service.under_way == 1
    await service.end()


async def test_requests_that_need_no_encoder_are_always_admitted():
    service = Answering(most=1)
    await service.ask(1)
    await service.ask(3, path="/health/live")
    assert (service.under_way, service.statuses) == (4, [])
    await service.end()
