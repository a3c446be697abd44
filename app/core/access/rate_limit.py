"""How fast a caller may go: token buckets, as arithmetic on a clock that the caller reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SECONDS_A_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A bucket of ``burst`` tokens that fills by ``requests_per_minute``; a request takes one.

    A request that turns out to be many, such as a batch of searches, is let through if there is
    one token, and owes the others: the next one waits until they are paid.

    Attributes:
        requests_per_minute: Requests on average, more than 0.
        burst: Requests at once, at least 1.
    """

    requests_per_minute: float
    burst: int

    @classmethod
    def of(cls, requests_per_minute: float, burst: int | None = None) -> RateLimit:
        """Return a limit; the burst is one minute's worth unless it is given."""
        return cls(requests_per_minute, burst or max(1, math.floor(requests_per_minute)))

    @property
    def window(self) -> int:
        """Seconds in which an empty bucket becomes full, rounded up."""
        return math.ceil(self.burst * _SECONDS_A_MINUTE / self.requests_per_minute)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What became of one request.

    Attributes:
        allowed: Whether it may go on.
        remaining: Requests that may follow at once.
        retry_after: Whole seconds until the next one may, 0 if at once.
    """

    allowed: bool
    remaining: int
    retry_after: int


class TokenBucket:
    """The state of one limit."""

    def __init__(self, limit: RateLimit, *, now: float) -> None:
        self.limit = limit
        self._tokens = float(limit.burst)
        self._updated = now

    def take(self, now: float) -> Ruling:
        """Take a token for a request, if there is one.

        Args:
            now: Seconds on a clock that does not go back.
        """
        self._fill(now)
        allowed = self._tokens >= 1.0
        if allowed:
            self._tokens -= 1.0
        return self._ruling(allowed=allowed)

    def owe(self, requests: int, now: float) -> Ruling:
        """Take tokens for the rest of a request that was let through, whether or not they exist.

        Args:
            requests: How many, at least 0.
            now: Seconds on a clock that does not go back.
        """
        self._fill(now)
        self._tokens -= requests
        return self._ruling(allowed=True)

    @property
    def _per_second(self) -> float:
        return self.limit.requests_per_minute / _SECONDS_A_MINUTE

    def _fill(self, now: float) -> None:
        gained = max(0.0, now - self._updated) * self._per_second
        self._tokens = min(float(self.limit.burst), self._tokens + gained)
        self._updated = max(now, self._updated)

    def _ruling(self, *, allowed: bool) -> Ruling:
        missing = max(0.0, 1.0 - self._tokens)
        return Ruling(
            allowed=allowed,
            remaining=max(0, math.floor(self._tokens)),
            retry_after=math.ceil(missing / self._per_second),
        )


class RateLimiter:
    """One bucket for every caller that has a limit."""

    def __init__(self) -> None:
        self._buckets: dict[str, TokenBucket] = {}

    def take(self, caller: str, limit: RateLimit, *, now: float) -> Ruling:
        """Take a token from the caller's bucket; another limit than before begins a full one."""
        return self._bucket(caller, limit, now).take(now)

    def owe(self, caller: str, limit: RateLimit, requests: int, *, now: float) -> Ruling:
        """Take tokens that may not be there yet; see ``TokenBucket.owe``."""
        return self._bucket(caller, limit, now).owe(requests, now)

    def _bucket(self, caller: str, limit: RateLimit, now: float) -> TokenBucket:
        bucket = self._buckets.get(caller)
        if bucket is None or bucket.limit != limit:
            bucket = self._buckets[caller] = TokenBucket(limit, now=now)
        return bucket
