"""What series there are: those of the service, those that rules record, those of others."""

from app.telemetry import labels
from app.telemetry.catalogue import CATALOGUE
from app.telemetry.instruments import Instruments

SCRAPED = {"job", "instance"}

RECORDED = {
    "bin": {"calibrator", "relation", "bin"},
    "calibrator": {"calibrator", "relation"},
    "language": {"calibrator", "query_lang", "relation"},
    "encoder": {"encoder", "relation", "le"},
}
"""Level of a recorded series, which its name begins with, to its labels."""

QDRANT = {
    "app_status_recovery_mode": set[str](),
    "cluster_peers_total": set[str](),
    "collections_total": set[str](),
    "collection_points": {"id"},
    "memory_resident_bytes": set[str](),
    "rest_responses_total": {"method", "endpoint", "status"},
    "rest_responses_duration_seconds_bucket": {"method", "endpoint", "status", "le"},
}
"""From Qdrant's page on monitoring; no server was asked here."""

PROMETHEUS = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity"}}

VALUES: dict[str, set[str]] = {
    "relation": set(labels.RELATIONS),
    "position": set(labels.POSITIONS),
    "decision": set(labels.DECISIONS),
    "status": set(labels.STATUS_CLASSES),
    "reason": set(labels.REJECTIONS),
    "source": set(labels.FEEDBACK_SOURCES),
    "result": set(labels.CACHE_RESULTS),
    "operation": set(labels.STORE_OPERATIONS),
    "lane": set(labels.LANES),
    "role": {"active", "shadow"},
}
"""Label to the values that it takes, where they are few."""


def series() -> dict[str, set[str]]:
    """Name to labels of every series that the service exposes."""
    found: dict[str, set[str]] = {}
    for spec in CATALOGUE:
        own = set(spec.labels)
        if spec.kind in {"histogram", "summary"}:
            found |= {f"{spec.name}_sum": own, f"{spec.name}_count": own}
        if spec.kind == "histogram":
            found[f"{spec.name}_bucket"] = own | {"le"}
        if spec.kind in {"counter", "gauge"}:
            found[spec.name] = own
    # The process itself is no part of the catalogue.
    for family in Instruments().registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set(sample.labels))
    return found


def labels_of(metric: str) -> set[str] | None:
    """Labels of a metric beside job and instance; ``None`` where there is no such metric."""
    if ":" in metric:
        return RECORDED.get(metric.partition(":")[0])
    for known in (series(), QDRANT, PROMETHEUS):
        if metric in known:
            return known[metric]
    return None
