"""Logs and metrics. Knows names, labels and buckets; what they mean is decided by the callers."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping
from typing import TextIO

import prometheus_client
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

PROBABILITY_BUCKETS = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0,
)  # fmt: skip
"""Upper bounds of probability histograms: fine at both ends, where decisions are made."""

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

RELATIONS = ("same", "cross", "uncertain")
"""Whether query and passage language agree, differ, or are not both known for certain."""

STAGES = ("language", "encode", "search", "calibrate")
OUTCOMES = ("ok", "no_confident_match", "degraded")

METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The Prometheus metrics of one service, on a registry of their own.

    Children with a known label set are made at once: a series that is born with its first event
    has no increase to show for it.
    """

    def __init__(self) -> None:
        # Every series would get a second one with its birth time, which no rule reads.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self.registry = registry
        self._requests = Counter(
            "isoglot_http_requests",
            "HTTP requests answered.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._latency = Histogram(
            "isoglot_http_request_duration_seconds",
            "Time from the first byte of a request to the last byte of its response.",
            ("route", "method"),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        stage = Histogram(
            "isoglot_search_stage_duration_seconds",
            "Time a search spent in one of its stages.",
            ("stage",),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        outcomes = Counter(
            "isoglot_searches", "Searches answered.", ("outcome",), registry=registry
        )
        probability = Histogram(
            "isoglot_hit_probability",
            "Stated probability of relevance of every returned hit.",
            ("relation",),
            buckets=PROBABILITY_BUCKETS,
            registry=registry,
        )
        self._stages = {name: stage.labels(name) for name in STAGES}
        self._outcomes = {name: outcomes.labels(name) for name in OUTCOMES}
        self._probabilities = {name: probability.labels(name) for name in RELATIONS}
        self._top_probability = Histogram(
            "isoglot_top_hit_probability",
            "Stated probability of relevance of the first returned hit.",
            buckets=PROBABILITY_BUCKETS,
            registry=registry,
        )
        self._ingested = Counter(
            "isoglot_passages_ingested", "Passages stored through the API.", registry=registry
        )
        self._rejected = Counter(
            "isoglot_passages_rejected", "Passages refused by the API.", registry=registry
        )
        self._bundle = Gauge(
            "isoglot_bundle_info",
            "Always 1; its labels name what is loaded.",
            ("bundle", "encoder", "calibrator"),
            registry=registry,
        )

    def request_answered(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Count one HTTP request; ``route`` is the path template, never the path."""
        self._requests.labels(route, method, str(status)).inc()
        self._latency.labels(route, method).observe(seconds)

    def search_answered(
        self,
        *,
        outcome: str,
        stage_milliseconds: Mapping[str, float],
        probabilities: Iterable[tuple[str, float]],
    ) -> None:
        """Count one search.

        Args:
            outcome: One of ``OUTCOMES``.
            stage_milliseconds: Stage, one of ``STAGES``, to its time in milliseconds.
            probabilities: Relation, one of ``RELATIONS``, and stated probability of every hit,
                in the order shown.
        """
        self._outcomes[outcome].inc()
        for stage, milliseconds in stage_milliseconds.items():
            self._stages[stage].observe(milliseconds / 1e3)
        for position, (relation, probability) in enumerate(probabilities):
            self._probabilities[relation].observe(probability)
            if position == 0:
                self._top_probability.observe(probability)

    def passages_answered(self, *, stored: int, rejected: int) -> None:
        """Count the passages of one answered piece of an upload."""
        self._ingested.inc(stored)
        self._rejected.inc(rejected)

    def bundle_loaded(self, *, bundle: str, encoder: str, calibrator: str) -> None:
        """State what is loaded; ``calibrator`` is empty where there is none."""
        self._bundle.clear()
        self._bundle.labels(bundle, encoder, calibrator).set(1)

    def exposition(self) -> bytes:
        """Return all metrics in the text format of ``METRICS_CONTENT_TYPE``."""
        return generate_latest(self.registry)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stderr`` is at the time, and marks the handler as ours."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # an attribute in the base class
        return sys.stderr


def configure_logging(level: str = "info", log_format: str = "console") -> None:
    """Send structlog and standard-library logs to stderr in one form; safe to call again.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``console`` for people, ``json`` for one JSON object a line.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = _StderrHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(log_format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if not isinstance(h, _StderrHandler)]
    root.addHandler(handler)
    root.setLevel(level.upper())


def _rendering(log_format: str) -> list[structlog.typing.Processor]:
    if log_format == "json":
        return [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    # The default formatter prints local variables, and with them the API key of a request.
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]
