"""Values of labels, and how facts are mapped to them; every set is small and known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from app.core.languages.codes import Relation, primary_language

Position = Literal["1", "2-5", "6+"]
Lane = Literal["query", "passage"]
LabelSource = Literal["explicit", "judged"]

RELATIONS: tuple[Relation, ...] = ("same", "cross")
POSITIONS: tuple[Position, ...] = ("1", "2-5", "6+")
DECISIONS = ("answered", "abstained", "degraded", "uncalibrated")
STAGES = ("language", "encode", "search", "calibrate", "page")
LANES: tuple[Lane, ...] = ("query", "passage")
LABEL_SOURCES: tuple[LabelSource, ...] = ("explicit", "judged")
FEEDBACK_SOURCES = (*LABEL_SOURCES, "click")
REJECTIONS = ("forged", "expired", "unknown", "duplicate")
REVISIONS = ("changed", "withdrawn")
ENGINES = ("onnx-int8", "onnx-float32", "torch-cuda", "torch-cpu")
CACHE_RESULTS = ("hit", "miss")
STORE_OPERATIONS = ("search", "upsert", "other")
STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx")
ERROR_STATUSES = (
    "400", "401", "403", "404", "405", "408", "409", "410", "413", "415", "422", "429", "499",
    "500", "503", "504", "507",
)  # fmt: skip
TIMED_ROUTES = (
    "/v1/search",
    "/v1/search:batch",
    "/v1/passages",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/feedback",
)
"""Routes with a latency of their own; the rest is ``other``."""

BINS = 10
"""Tenths of the stated probability."""

OTHER = "other"
MAX_LANGUAGES = 16
"""Languages that are told apart; the rest is ``other``."""


def language_labels(languages: Sequence[str]) -> tuple[str, ...]:
    """Return the values of ``query_lang``: primary languages in their order, then ``other``."""
    primary = dict.fromkeys(map(primary_language, languages))
    return (*list(primary)[:MAX_LANGUAGES], OTHER)


def position_of(rank: int) -> Position:
    """Return which part of an answer a rank, from 1, lies in."""
    if rank <= 1:
        return "1"
    return "2-5" if rank <= 5 else "6+"


def bin_of(probability: float) -> int:
    """Return the tenth of a probability, 0 to 9."""
    return min(BINS - 1, int(probability * BINS))
