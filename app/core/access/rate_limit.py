"""How fast a caller may go: token buckets, as arithmetic on a clock that the caller reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SECONDS_A_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A bucket of ``burst`` tokens that fills by ``requests_per_minute``; a request takes one.

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
        per_second = self.limit.requests_per_minute / _SECONDS_A_MINUTE
        gained = max(0.0, now - self._updated) * per_second
        self._tokens = min(float(self.limit.burst), self._tokens + gained)
        self._updated = max(now, self._updated)
        allowed = self._tokens >= 1.0
        if allowed:
            self._tokens -= 1.0
        missing = max(0.0, 1.0 - self._tokens)
        return Ruling(
            allowed=allowed,
            remaining=math.floor(self._tokens),
            retry_after=math.ceil(missing / per_second),
        )


class RateLimiter:
    """One bucket for every caller that has a limit."""

    def __init__(self) -> None:
        self._buckets: dict[str, TokenBucket] = {}

    def take(self, caller: str, limit: RateLimit, *, now: float) -> Ruling:
        """Take a token from the caller's bucket; another limit than before begins a full one."""
        bucket = self._buckets.get(caller)
        if bucket is None or bucket.limit != limit:
            bucket = self._buckets[caller] = TokenBucket(limit, now=now)
        return bucket.take(now)
