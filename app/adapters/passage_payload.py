"""How a passage is laid out in a Qdrant point; the same in the embedded engine and the server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from app.core.types import Passage

VECTOR_NAME = "dense"
"""Name of the vector of every point."""

LANGUAGE_KEY = "language"
"""Payload key that filters and facets read; it carries the only payload index."""

_NAMESPACE = uuid.UUID("b6a5c1de-3f0e-5c0a-9d53-6f0f3f1c7d11")


def point_id(passage_id: str) -> uuid.UUID:
    """Return the point id of a passage: Qdrant takes integers and UUIDs only."""
    return uuid.uuid5(_NAMESPACE, passage_id)


def to_payload(passage: Passage) -> dict[str, Any]:
    """Return the payload that keeps a passage.

    Metadata travels as JSON text, because the engine's own JSON changes the last digit of one
    float in eight and metadata must come back as it came.
    """
    return {
        "id": passage.id,
        "text": passage.text,
        LANGUAGE_KEY: passage.language,
        "parallel_id": passage.parallel_id,
        "metadata": json.dumps(passage.metadata, ensure_ascii=False, separators=(",", ":")),
    }


def from_payload(payload: Mapping[str, Any]) -> Passage:
    """Return the passage that ``to_payload`` wrote."""
    return Passage(
        id=payload["id"],
        text=payload["text"],
        language=payload[LANGUAGE_KEY],
        parallel_id=payload["parallel_id"],
        metadata=json.loads(payload["metadata"]),
    )
