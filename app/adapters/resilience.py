"""Calls over a network: a deadline, bounded retries with jitter, and a circuit breaker.

Knows no vendor: whoever calls says by ``Classify`` what an exception means. Only calls that may
be repeated belong here, which is every one that a passage store makes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from app.core.errors import StoreError, StoreUnavailableError

T = TypeVar("T")

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """What an exception means.

    Attributes:
        reason: In words that complete "The store could not ...: ".
        is_transient: Whether the same call may succeed in a moment.
        retry_after: Seconds that the server asks to wait, if it does.
    """

    reason: str
    is_transient: bool
    retry_after: float | None = None


Classify = Callable[[Exception], Failure]


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How long and how often to try.

    Attributes:
        deadline: Seconds after which a call is given up, all attempts together.
        attempts: Most attempts of one call.
        attempt_share: Share of the deadline after which one attempt is given up, so that a
            connection on which nothing comes back leaves time for another.
        first_pause: Longest pause before the second attempt in seconds; it doubles from there.
            Each pause is drawn from 0 to its longest ("full jitter"), so that replicas that
            failed together do not come back together.
        trip_after: Calls that fail in a row before the breaker opens.
        cool_down: Seconds for which an open breaker refuses calls; then one call may try.
    """

    deadline: float = 5.0
    attempts: int = 3
    attempt_share: float = 0.6
    first_pause: float = 0.05
    trip_after: int = 5
    cool_down: float = 2.0


class CircuitBreaker:
    """Refuses calls to a store that has just failed several times in a row.

    Without it every request waits for its whole deadline while the store is down, and the store
    is met by all of them at once when it comes back.
    """

    def __init__(
        self, *, trip_after: int, cool_down: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._trip_after = trip_after
        self._cool_down = cool_down
        self._clock = clock
        self._failures = 0
        self._closed_again_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls are refused now."""
        return self._closed_again_at is not None and self._clock() < self._closed_again_at

    def admit(self) -> bool:
        """Return whether a call may go ahead; after the cool-down only one may, as a trial."""
        if self._closed_again_at is None:
            return True
        if self.is_open:
            return False
        # Whoever comes while the trial is under way is refused for another cool-down.
        self._closed_again_at = self._clock() + self._cool_down
        return True

    def succeeded(self) -> None:
        """Note that the store answers."""
        if self._closed_again_at is not None:
            _log.info("store_answers_again")
        self._failures = 0
        self._closed_again_at = None

    def failed(self) -> None:
        """Note that a call was given up for a reason that may pass."""
        self._failures += 1
        if self._failures >= self._trip_after:
            if self._closed_again_at is None:
                _log.error("store_given_up_for_now", failures=self._failures)
            self._closed_again_at = self._clock() + self._cool_down


class Caller:
    """Makes calls under one policy and one breaker.

    Args:
        policy: How long and how often to try.
        classify: Says what an exception means.
        clock: Seconds that do not go back.
    """

    def __init__(
        self,
        policy: CallPolicy,
        classify: Classify,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._classify = classify
        self._clock = clock
        self._breaker = CircuitBreaker(
            trip_after=policy.trip_after, cool_down=policy.cool_down, clock=clock
        )

    async def call(
        self, action: str, attempt: Callable[[], Awaitable[T]], *, deadline: float | None = None
    ) -> T:
        """Make a call that may be repeated.

        Args:
            action: What is tried, to complete "The store could not ...".
            attempt: Makes one attempt; it may be cancelled.
            deadline: Seconds, where the policy's are not enough.

        Raises:
            StoreUnavailableError: It failed for a reason that may pass, or was not tried.
            StoreError: It failed for another reason.
        """
        if not self._breaker.admit():
            raise StoreUnavailableError(
                f"The store could not {action}: it failed {self._policy.trip_after} times in a "
                "row and is left alone for a moment."
            )
        seconds = self._policy.deadline if deadline is None else deadline
        try:
            result = await self._attempts(action, attempt, seconds)
        except StoreUnavailableError:
            self._breaker.failed()
            raise
        except StoreError:
            self._breaker.succeeded()  # it answers, if not as hoped
            raise
        self._breaker.succeeded()
        return result

    async def _attempts(
        self, action: str, attempt: Callable[[], Awaitable[T]], seconds: float
    ) -> T:
        end = self._clock() + seconds
        number = 1
        while True:
            left = end - self._clock()
            try:
                async with asyncio.timeout(min(left, seconds * self._policy.attempt_share)):
                    return await attempt()
            except Exception as error:  # noqa: BLE001  classified, and raised as the store's own
                failure = self._meaning(error, seconds)
                cause = error
            if not failure.is_transient:
                raise StoreError(f"The store could not {action}: {failure.reason}") from cause
            pause = self._pause(number, failure)
            if number >= self._policy.attempts or self._clock() + pause >= end:
                raise StoreUnavailableError(
                    f"The store could not {action}: {failure.reason}"
                ) from cause
            _log.warning("store_call_repeated", action=action, reason=failure.reason)
            await asyncio.sleep(pause)
            number += 1

    def _meaning(self, error: Exception, seconds: float) -> Failure:
        if isinstance(error, TimeoutError):
            return Failure(f"it did not answer within {seconds:g} s.", is_transient=True)
        return self._classify(error)

    def _pause(self, number: int, failure: Failure) -> float:
        longest = self._policy.first_pause * 2.0 ** (number - 1)
        pause = random.uniform(0, longest)  # noqa: S311  jitter, not a secret
        return max(pause, failure.retry_after or 0.0)
