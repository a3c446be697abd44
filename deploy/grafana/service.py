"""Does the service answer, in time and without errors?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import JOB, Panels, dashboard, filled, lines, number

_TRAFFIC = f'{JOB}, route!~"/health/.*|/metrics"'
_FAILED = f'{_TRAFFIC}, status="5xx"'
_SEARCH = f'{JOB}, route="/v1/search"'
_QUICK = [(0.1, "yellow"), (0.25, "red")]
_FAILING = [(0.001, "yellow"), (0.01, "red")]


def build() -> Dashboard:
    """Return the dashboard."""
    board = dashboard("service", "Service", "Requests, errors, latency, encoder and process.")
    return filled(
        board,
        ("Now", _now()),
        ("Requests", _requests()),
        ("Searches", _searches()),
        ("Encoder", _encoder()),
        ("Process", _process()),
    )


def quantile(share: float, metric: str, matchers: str, by: str = "") -> str:
    """Return PromQL for a quantile of a histogram, for every value of the label ``by``."""
    labels = f"le, {by}" if by else "le"
    rates = f"sum by ({labels}) (rate({metric}_bucket{{{matchers}}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {rates})"


def rate(metric: str, matchers: str = JOB, by: str = "") -> str:
    """Return PromQL for the summed rate of a counter, for every value of the label ``by``."""
    total = f"sum by ({by})" if by else "sum"
    return f"{total} (rate({metric}{{{matchers}}}[$__rate_interval]))"


def _mean(histogram: str) -> str:
    return f"{rate(f'{histogram}_sum')} / {rate(f'{histogram}_count')}"


def _now() -> Panels:
    requests = "isoglot_http_requests_total"
    yield number("Ready", "none", f"sum(isoglot_ready{{{JOB}}})", "Processes that answer searches.")
    yield number("Searches", "reqps", rate("isoglot_queries_total"))
    yield number(
        "Failing", "percentunit",
        f"{rate(requests, _FAILED)} / {rate(requests, _TRAFFIC)}",
        "Share of requests answered with 5xx.", limits=_FAILING,
    )  # fmt: skip
    yield number(
        "95 % of searches within", "s",
        quantile(0.95, "isoglot_http_request_duration_seconds", _SEARCH), limits=_QUICK,
    )  # fmt: skip
    yield number("Passages", "short", f"max(isoglot_store_passages{{{JOB}}})")
    yield number(
        "Bundle loaded", "s", f"time() - max(isoglot_bundle_loaded_timestamp_seconds{{{JOB}}})",
        "Time since then.",
    )  # fmt: skip


def _requests() -> Panels:
    yield lines(
        "Requests by route", "reqps",
        {"{{method}} {{route}}": rate("isoglot_http_requests_total", _TRAFFIC, "method, route")},
    )  # fmt: skip
    yield lines(
        "Errors by status", "reqps",
        {"{{status}}": rate("isoglot_http_errors_total", JOB, "status")},
        "429: too many are under way, or a key has used up its rate. 499: the caller left. "
        "504: out of time. 507: the disk is full.",
    )  # fmt: skip
    latency = "isoglot_http_request_duration_seconds"
    yield lines(
        "Latency of a search", "s",
        {"half within": quantile(0.5, latency, _SEARCH), "95 %": quantile(0.95, latency, _SEARCH),
         "99 %": quantile(0.99, latency, _SEARCH)},
        "The objective is 99 % within 0.25 s.", limits=_QUICK,
    )  # fmt: skip
    yield lines(
        "Being answered", "short",
        {"requests": f"sum(isoglot_http_requests_in_progress{{{JOB}}})"},
    )  # fmt: skip


def _searches() -> Panels:
    yield lines(
        "Searches by what came of them", "reqps",
        {"{{decision}}": rate("isoglot_queries_total", JOB, "decision")},
        "abstained: nothing fits. degraded: out of time. uncalibrated: no probabilities.",
    )  # fmt: skip
    yield lines(
        "Stages of a search, 95 % within", "s",
        {"{{stage}}": quantile(0.95, "isoglot_search_stage_duration_seconds", JOB, "stage")},
    )  # fmt: skip


def _encoder() -> Panels:
    yield lines(
        "Waiting for the encoder", "short",
        {"tokens, {{lane}}": f"sum by (lane) (isoglot_encoder_queue_tokens{{{JOB}}})"},
    )  # fmt: skip
    yield lines(
        "Time waited, 95 % within", "s",
        {"{{lane}}": quantile(0.95, "isoglot_encoder_queue_wait_seconds", JOB, "lane")},
    )  # fmt: skip
    yield lines(
        "One pass", "short",
        {"texts": _mean("isoglot_encoder_batch_texts")},
        "Mean. Larger is more efficient.",
    )  # fmt: skip
    yield lines(
        "Time of a pass, 95 % within", "s",
        {"{{lane}}": quantile(0.95, "isoglot_encoder_forward_duration_seconds", JOB, "lane")},
    )  # fmt: skip
    hits = rate("isoglot_embedding_cache_requests_total", f'{JOB}, result="hit"')
    yield lines(
        "Queries found in the cache", "percentunit",
        {"share": f'{hits} / {rate("isoglot_embedding_cache_requests_total")}'},
    )  # fmt: skip
    yield lines(
        "Refused", "reqps",
        {"too many searches under way": rate("isoglot_searches_refused_total"),
         "queue full, {{lane}}": rate("isoglot_encoder_queue_refused_total", JOB, "lane")},
        "Rates of API keys that were used up are not counted here.",
    )  # fmt: skip


def _process() -> Panels:
    yield lines(
        "CPU", "short", {"{{instance}}": rate("process_cpu_seconds_total", JOB, "instance")},
        "Cores in use.",
    )  # fmt: skip
    yield lines(
        "Memory", "bytes",
        {"{{instance}}": f"sum by (instance) (process_resident_memory_bytes{{{JOB}}})",
         "cache of embeddings": f"sum(isoglot_embedding_cache_bytes{{{JOB}}})"},
    )  # fmt: skip
