"""What the metrics are told of an answered search."""

from __future__ import annotations

from collections.abc import Mapping

from app.core.search.types import Hit, SearchResult
from app.telemetry.metrics import Metrics
from app.telemetry.searches import ShownHit


def count_search(metrics: Metrics, result: SearchResult, stages: Mapping[str, float]) -> None:
    """Count a search.

    Args:
        metrics: What counts it.
        result: Its answer, or a page of it.
        stages: Stage to milliseconds; empty where they are counted elsewhere.
    """
    metrics.searches.answered(
        query_language=result.query_language.code,
        decision=_decision(result),
        stage_milliseconds=stages,
        hits=[_shown(hit, result) for hit in result.hits],
    )


def _decision(result: SearchResult) -> str:
    if result.outcome == "degraded":
        return "degraded"
    if result.calibrator is None:
        return "uncalibrated"
    return "abstained" if result.outcome == "no_confident_match" else "answered"


def _shown(hit: Hit, result: SearchResult) -> ShownHit:
    stated: dict[str, float] = {}
    if result.calibrator is not None and hit.probability is not None:
        stated[result.calibrator.id] = hit.probability
    if result.shadow is not None and hit.shadow_probability is not None:
        stated[result.shadow] = hit.shadow_probability
    return ShownHit(
        rank=hit.rank,
        score=hit.score,
        language=hit.passage.language,
        probabilities=stated,
        extrapolated=hit.extrapolated,
    )
