"""What two answers to the same question have in common."""

from __future__ import annotations

from typing import Any


def hits_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the hits without their tokens, which name the answer they belong to."""
    return [{k: v for k, v in hit.items() if k != "feedback_token"} for hit in answer["hits"]]
