"""Is the vector store quick, whole and not full?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import JOB, Panels, dashboard, filled, lines, number
from deploy.grafana.service import quantile, rate

_QDRANT = 'job="qdrant"'
_CALLS = "isoglot_store_request_duration_seconds"


def build() -> Dashboard:
    """Return the dashboard."""
    board = dashboard("store", "Vector store", "Calls of the passage store, and the Qdrant server.")
    return filled(
        board,
        ("As the service sees it, whichever store it uses", _ours()),
        ("Qdrant server", _qdrant()),
    )


def _ours() -> Panels:
    calls, errors = rate(f"{_CALLS}_count"), rate("isoglot_store_errors_total")
    yield number("Passages", "short", f"max(isoglot_store_passages{{{JOB}}})", width=6)
    yield number(
        "In the approximate index", "percentunit",
        f"max(isoglot_store_indexed_passages{{{JOB}}})"
        f" / (max(isoglot_store_passages{{{JOB}}}) > 0)",
        "0: every search is exact.", width=6,
    )  # fmt: skip
    yield number("Calls", "ops", calls, width=6)
    yield number(
        "Failing", "percentunit", f"{errors} / {calls}", width=6,
        limits=[(0.001, "yellow"), (0.01, "red")],
    )  # fmt: skip
    yield lines("Calls", "ops", {"{{operation}}": rate(f"{_CALLS}_count", JOB, "operation")})
    yield lines(
        "Failing", "ops", {"{{operation}}": rate("isoglot_store_errors_total", JOB, "operation")}
    )
    yield lines(
        "Time of a call, 95 % within",
        "s",
        {"{{operation}}": quantile(0.95, _CALLS, JOB, "operation")},
    )
    yield lines(
        "Uploaded passages", "cps",
        {"stored": rate("isoglot_passages_ingested_total"),
         "refused": rate("isoglot_passages_rejected_total")},
    )  # fmt: skip


def _qdrant() -> Panels:
    yield number("Nodes", "none", f"sum(up{{{_QDRANT}}})", "That answer Prometheus.", width=6)
    yield number(
        "Peers", "none", f"max(cluster_peers_total{{{_QDRANT}}})", "Of the cluster.", width=6
    )
    yield number("Collections", "none", f"max(collections_total{{{_QDRANT}}})", width=6)
    yield number("Recovering", "none", f"sum(app_status_recovery_mode{{{_QDRANT}}})", width=6)
    yield lines(
        "Answers", "reqps",
        {"{{status}}": rate("rest_responses_total", _QDRANT, "status")},
    )  # fmt: skip
    yield lines(
        "Time of an answer, 95 % within", "s",
        {"{{endpoint}}": quantile(0.95, "rest_responses_duration_seconds", _QDRANT, "endpoint")},
    )  # fmt: skip
    yield lines(
        "Memory",
        "bytes",
        {"{{instance}}": f"sum by (instance) (memory_resident_bytes{{{_QDRANT}}})"},
    )
    yield lines("Points", "short", {"{{id}}": f"max by (id) (collection_points{{{_QDRANT}}})"})
