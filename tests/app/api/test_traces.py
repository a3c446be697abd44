"""Traces: what a collector is told about a request."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.app.api.conftest import PASSAGES

STAGES = ["language", "encode", "search", "calibrate", "page"]
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


@pytest.fixture
def exporter(monkeypatch) -> InMemorySpanExporter:
    """Where spans end up; the provider of a process can be set only once, hence the patch."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    return exporter


def split(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """Return the span of the last request, and those of its stages in the order of time."""
    spans = exporter.get_finished_spans()
    [*_, request] = [span for span in spans if span.name.startswith("POST")]
    assert request.context is not None
    stages = [
        span
        for span in spans
        if span.name in STAGES
        and span.context is not None
        and span.context.trace_id == request.context.trace_id
    ]
    return request, sorted(stages, key=lambda span: span.start_time or 0)


@pytest.mark.parametrize(
    ("path", "body"),
    [("/search", {"query": "hole"}), ("/v1/search:batch", {"searches": [{"query": "hole"}]})],
)
async def test_every_stage_of_a_search_is_a_span_of_its_request(exporter, stocked, path, body):
    answer = await stocked.post(path, json=body, headers={"traceparent": TRACEPARENT})

    assert answer.status_code == 200
    request, stages = split(exporter)
    assert request.name == f"POST {path}"
    assert request.context is not None
    assert f"{request.context.trace_id:032x}" == TRACE_ID
    assert [span.name for span in stages] == STAGES
    for earlier, later in pairwise(stages):
        assert earlier.end_time == later.start_time
    assert (request.start_time or 0) <= (stages[0].start_time or 0)
    assert (stages[-1].end_time or 0) <= (request.end_time or 0)


async def test_what_others_ask_every_few_seconds_is_not_traced(exporter, stocked):
    exporter.clear()
    for path in ("/health/live", "/health/ready", "/metrics"):
        await stocked.get(path)

    assert exporter.get_finished_spans() == ()


async def test_what_was_asked_and_found_is_in_no_span(exporter, stocked):
    await stocked.post("/search", json={"query": "hole"})

    told = "".join(span.to_json() for span in exporter.get_finished_spans())
    assert "hole" not in told
    assert PASSAGES[1]["text"] not in told


async def test_a_line_of_the_log_says_which_span_it_belongs_to(exporter, serve, capsys):
    async with serve(log_format="json") as client:
        await client.get("/v1/bundle", headers={"traceparent": TRACEPARENT})

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line[0] == "{"]
    [line] = [line for line in lines if line.get("route") == "/v1/bundle"]
    assert line["trace_id"] == TRACE_ID
    assert len(line["span_id"]) == 16


async def test_without_a_collector_nothing_is_traced(stocked, capsys):
    await stocked.post("/search", json={"query": "hole"})

    assert "trace_id" not in capsys.readouterr().err
