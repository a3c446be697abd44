"""Counts HTTP requests: rate, errors, duration."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter

from app.telemetry import catalogue
from app.telemetry.instruments import Instruments
from app.telemetry.labels import ERROR_STATUSES, OTHER, STATUS_CLASSES, TIMED_ROUTES

_SHORT_SEARCH = "/search"


class RequestMetrics:
    """Records requests on the metrics ``isoglot_http_*``."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._duration = {
            route: instruments.distribution(catalogue.HTTP_DURATION, route)
            for route in (*TIMED_ROUTES, OTHER)
        }
        self._duration[_SHORT_SEARCH] = self._duration["/v1/search"]
        self._errors = {
            status: instruments.counter(catalogue.HTTP_ERRORS, status) for status in ERROR_STATUSES
        }
        self._requests: dict[tuple[str, str, str], Counter] = {}
        self._in_progress = instruments.gauge(catalogue.HTTP_IN_PROGRESS)
        self._refused = instruments.counter(catalogue.SEARCHES_REFUSED)

    def routes_known(self, routes: Iterable[tuple[str, str]]) -> None:
        """Make the series of every route, given as method and path template."""
        for method, route in routes:
            for status in STATUS_CLASSES:
                self._counter(route, method, status)

    def began(self) -> None:
        """Count a request as being answered."""
        self._in_progress.inc()

    def refused(self) -> None:
        """Count a search that was not let in."""
        self._refused.inc()

    def answered(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that has begun as answered.

        Args:
            route: Path template, never the path.
            method: One of HTTP, or ``OTHER``.
            status: Of the response; 499 where the client left before there was one.
            seconds: How long it took.
        """
        self._in_progress.dec()
        self._counter(route, method, f"{status // 100}xx").inc()
        self._duration.get(route, self._duration[OTHER]).observe(seconds)
        if (error := self._errors.get(str(status))) is not None:
            error.inc()

    def _counter(self, route: str, method: str, status: str) -> Counter:
        key = (route, method, status)
        found = self._requests.get(key)
        if found is None:
            found = self._requests[key] = self._instruments.counter(catalogue.HTTP_REQUESTS, *key)
        return found
