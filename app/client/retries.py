"""When to try again, and how long to wait first."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from app.client.errors import Failure, retry_after

RETRIED_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how patiently to try again; every call may be repeated without harm.

    Without word from the service the n-th pause is drawn evenly from 0 to ``pause * 2**n``
    seconds, so that clients that failed together do not return together. A ``Retry-After`` is
    waited out, plus such a pause.

    Attributes:
        attempts: How often a request is sent at most; 1 for never again.
        pause: Scale of the pauses in seconds.
        longest: Longest wait in seconds; a service that asks for more is not asked again.
        draw: Returns a number from 0 to 1.
    """

    attempts: int = 4
    pause: float = 0.25
    longest: float = 20.0
    draw: Callable[[], float] = field(default=random.random, repr=False)

    def wait(self, failure: Failure, attempt: int) -> float | None:
        """Return the seconds to wait after a failed attempt; ``None`` to give up.

        Args:
            failure: What came back, or what broke.
            attempt: Which attempt it was, from 1.
        """
        if attempt >= self.attempts:
            return None
        jitter = self.draw() * min(self.longest, self.pause * math.ldexp(1.0, attempt - 1))
        if not isinstance(failure, httpx.Response):
            return jitter
        if failure.status_code not in RETRIED_STATUSES:
            return None
        asked = retry_after(failure) or 0.0
        return None if asked > self.longest else asked + jitter
