"""The catalogue as collectors of ``prometheus_client``, in one process or in several.

Several processes behind one address share their numbers through files: set
``PROMETHEUS_MULTIPROC_DIR`` to an empty directory before they start (see ``docs/metrics.md``).
Then no series can be removed, so one that has ended is set to 0 instead.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Sequence

import prometheus_client
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    Summary,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from app.telemetry.catalogue import CATALOGUE, Spec

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST
_SHARED = "PROMETHEUS_MULTIPROC_DIR"

Collector = Counter | Gauge | Histogram | Summary


class Instruments:
    """The collectors of one service, on a registry of their own."""

    def __init__(self) -> None:
        # Every series would get a second one with its birth time, which no rule reads.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._collectors = {spec: _collector(spec, self.registry) for spec in CATALOGUE}
        if not is_shared():
            ProcessCollector(registry=self.registry)

    def counter(self, spec: Spec, *labels: str) -> Counter:
        """Return the child of a counter; it exists, at 0, from then on."""
        child = self._child(spec, labels)
        assert isinstance(child, Counter)
        return child

    def gauge(self, spec: Spec, *labels: str) -> Gauge:
        """Return the child of a gauge."""
        child = self._child(spec, labels)
        assert isinstance(child, Gauge)
        return child

    def distribution(self, spec: Spec, *labels: str) -> Histogram | Summary:
        """Return the child of a histogram or summary; it exists, empty, from then on."""
        child = self._child(spec, labels)
        assert isinstance(child, Histogram | Summary)
        return child

    def end(self, spec: Spec, *labels: str) -> None:
        """Let a series end that will not be written again."""
        if not is_shared():
            self._collectors[spec].remove(*labels)
        elif spec.kind == "gauge":
            self.gauge(spec, *labels).set(0)

    def exposition(self) -> bytes:
        """Return all metrics, of all processes, in the format of ``METRICS_CONTENT_TYPE``."""
        if not is_shared():
            return generate_latest(self.registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)

    def close(self) -> None:
        """Take what this process alone accounts for out of the shared numbers."""
        if is_shared():
            mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]

    def _child(self, spec: Spec, labels: Sequence[str]) -> Collector:
        collector = self._collectors[spec]
        return collector.labels(*labels) if labels else collector


def observe_all(series: Histogram | Summary, amounts: Sequence[float]) -> None:
    """Record several amounts, as one call of ``observe`` for each does, in a third of the time.

    The library has no such call, so this adds to what it adds to; a test compares the two.
    """
    series._sum.inc(sum(amounts))
    if isinstance(series, Summary):
        series._count.inc(len(amounts))
        return
    bounds = series._upper_bounds
    for place, times in Counts(bisect_left(bounds, amount) for amount in amounts).items():
        series._buckets[place].inc(times)


def is_shared() -> bool:
    """Return whether several processes add up their metrics."""
    return _SHARED in os.environ


def _collector(spec: Spec, registry: CollectorRegistry) -> Collector:
    match spec.kind:
        case "counter":
            return Counter(spec.name, spec.meaning, spec.labels, registry=registry)
        case "gauge":
            return Gauge(
                spec.name,
                spec.meaning,
                spec.labels,
                registry=registry,
                multiprocess_mode=spec.sharing,
            )
        case "histogram":
            return Histogram(
                spec.name, spec.meaning, spec.labels, registry=registry, buckets=spec.buckets
            )
        case "summary":
            return Summary(spec.name, spec.meaning, spec.labels, registry=registry)
