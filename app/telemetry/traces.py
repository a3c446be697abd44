"""Traces: spans for the stages of a search, inside the span that FastAPI makes of each request.

Off until ``OTEL_EXPORTER_OTLP_ENDPOINT`` names a collector. FastAPI reads that and the other
variables of OpenTelemetry, sends what is traced, and takes ``traceparent`` over; this module adds
what only we know.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from structlog.typing import EventDict, WrappedLogger

_POLLED = frozenset({"/health/live", "/health/ready", "/metrics"})

TELEMETRY: TelemetryConfig = {
    "auto_configure": True,
    "exclude": lambda scope: scope["path"] in _POLLED,
    "metrics": False,
    "logs": False,
}
"""What FastAPI sends where the environment names a collector: traces alone. Metrics are for
Prometheus to fetch, logs go to stderr."""


def record_stages(milliseconds: Mapping[str, float]) -> None:
    """Add a span for every stage of a search that has ended just now.

    Args:
        milliseconds: Stage to its duration, in the order in which they followed one another.
    """
    if not trace.get_current_span().is_recording():
        return
    tracer = trace.get_tracer("isoglot")
    at = time.time_ns() - sum(_nanoseconds(ms) for ms in milliseconds.values())
    for stage, ms in milliseconds.items():
        span = tracer.start_span(stage, start_time=at)
        at += _nanoseconds(ms)
        span.end(at)


def add_trace_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Let a line of the log say which span it belongs to; a processor of structlog."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def _nanoseconds(milliseconds: float) -> int:
    return round(milliseconds * 1e6)
