from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.adapters.resilience import Caller, CallPolicy, CircuitBreaker, Failure
from app.core.errors import StoreError, StoreUnavailableError

QUICK = CallPolicy(deadline=0.3, first_pause=0.001, trip_after=3, cool_down=10.0)


class PassingError(Exception):
    """Passes by itself."""


class LastingError(Exception):
    """Stays."""


def classify(error: Exception) -> Failure:
    return Failure(f"it said {error!s}.", is_transient=isinstance(error, PassingError))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def answers(*outcomes: Exception | str) -> tuple[Callable[[], Awaitable[str]], list[int]]:
    """Return a call with these outcomes, one after the other, and how often it was made."""
    made: list[int] = []

    async def attempt() -> str:
        outcome = outcomes[min(len(made), len(outcomes) - 1)]
        made.append(1)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return attempt, made


async def test_what_passes_by_itself_is_tried_again():
    attempt, made = answers(PassingError("wait"), PassingError("wait"), "done")

    assert await Caller(QUICK, classify).call("count", attempt) == "done"
    assert len(made) == 3


async def test_attempts_are_bounded_and_the_last_reason_is_told():
    attempt, made = answers(PassingError("busy"))

    with pytest.raises(StoreUnavailableError, match=r"could not count: it said busy\."):
        await Caller(QUICK, classify).call("count", attempt)
    assert len(made) == QUICK.attempts


async def test_a_refusal_is_not_tried_again():
    attempt, made = answers(LastingError("no"))

    with pytest.raises(StoreError, match="it said no") as caught:
        await Caller(QUICK, classify).call("count", attempt)
    assert not isinstance(caught.value, StoreUnavailableError)
    assert len(made) == 1


async def test_an_attempt_that_hangs_leaves_time_for_another():
    made: list[int] = []

    async def attempt() -> str:
        made.append(1)
        if len(made) == 1:
            await asyncio.Event().wait()
        return "done"

    assert await Caller(QUICK, classify).call("count", attempt) == "done"


async def test_a_call_ends_at_its_deadline():
    async def attempt() -> str:
        await asyncio.Event().wait()
        raise AssertionError("an event that nobody sets")

    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(StoreUnavailableError, match=r"did not answer within 0\.3 s"):
        await Caller(QUICK, classify).call("count", attempt)
    assert loop.time() - began < 2.0


async def test_a_wait_that_the_server_asks_for_beyond_the_deadline_is_not_begun():
    def asks_to_wait(_error: Exception) -> Failure:
        return Failure("it asks to wait.", is_transient=True, retry_after=60.0)

    attempt, made = answers(PassingError("wait"))
    with pytest.raises(StoreUnavailableError):
        await Caller(QUICK, asks_to_wait).call("count", attempt)
    assert len(made) == 1


async def test_after_several_failures_nothing_is_tried_until_the_cool_down_is_over():
    clock = Clock()
    caller = Caller(QUICK, classify, clock=clock)
    failing, _ = answers(PassingError("down"))
    for _ in range(QUICK.trip_after):
        with pytest.raises(StoreUnavailableError):
            await caller.call("count", failing)

    attempt, made = answers("done")
    with pytest.raises(StoreUnavailableError, match="left alone for a moment"):
        await caller.call("count", attempt)
    assert made == []

    clock.now += QUICK.cool_down
    assert await caller.call("count", attempt) == "done"
    assert await caller.call("count", attempt) == "done"


async def test_a_server_that_refuses_is_not_given_up():
    caller = Caller(QUICK, classify)
    refused, made = answers(LastingError("no"))
    for _ in range(QUICK.trip_after + 1):
        with pytest.raises(StoreError, match="it said no"):
            await caller.call("count", refused)
    assert len(made) == QUICK.trip_after + 1


def test_one_call_alone_tries_whether_the_store_answers_again():
    clock = Clock()
    breaker = CircuitBreaker(trip_after=1, cool_down=2.0, clock=clock)
    assert breaker.admit()
    breaker.failed()
    assert not breaker.admit()

    clock.now += 2.0
    assert breaker.admit()
    assert not breaker.admit()
    breaker.failed()
    clock.now += 1.0
    assert not breaker.admit()
    clock.now += 1.0
    assert breaker.admit()
    breaker.succeeded()
    assert breaker.admit()
    assert breaker.admit()


async def test_a_caller_that_leaves_is_let_go():
    async def attempt() -> str:
        await asyncio.Event().wait()
        raise AssertionError("an event that nobody sets")

    task = asyncio.create_task(Caller(QUICK, classify).call("count", attempt))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
