"""Statements for tests."""

from __future__ import annotations

from typing import Any

from app.core.feedback.entries import Entry, Statement

ISSUED = 1_800_000_000


def statement(**changes: Any) -> Statement:
    """A statement about a hit, with members replaced; its floats are exact in single precision."""
    facts: dict[str, Any] = {
        "query_id": "00112233445566778899aabbccddeeff",
        "passage_id": "kb-4711",
        "rank": 1,
        "probability": 0.7123456789,
        "calibrator": "0001a8422cb8",
        "query_language": "de",
        "passage_language": "pt-BR",
        "issued": ISSUED,
        "score": 0.625,
        "background": 0.25,
        "corpus_size": 13_014,
        "language_rank": 2,
        "language_lead": 0.0,
        "language_lag": 0.0625,
        "language_size": 1183,
        "same": 0.125,
        "cross": 0.75,
    }
    return Statement(**{**facts, **changes})


def entry(*, source: Any = "explicit", relevant: bool | None = True, **changes: Any) -> Entry:
    """An entry of the log about such a statement."""
    return Entry(statement(**changes), source, relevant, received=ISSUED + 60.5)
