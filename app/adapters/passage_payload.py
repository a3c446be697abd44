"""How a passage is laid out in a Qdrant point; the same in the embedded engine and the server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
from pydantic_core import from_json

from app.core.passages.fields import BUILT_IN_FIELDS, field_values
from app.core.types import EmbeddedPassage, FieldKind, FieldValue, Passage

VECTOR_NAME = "dense"
"""Name of the vector of every point."""

WORDS_NAME = "words"
"""Name of the sparse vector of every point, where words are indexed."""

LANGUAGE_KEY = "language"
"""Payload key of the language."""

FIELDS_KEY = "fields"
"""Payload key of the declared fields, as filters compare them."""

HASH_KEY = "content_hash"
"""Payload key of the content hash."""

_NAMESPACE = uuid.UUID("b6a5c1de-3f0e-5c0a-9d53-6f0f3f1c7d11")


def point_id(passage_id: str) -> uuid.UUID:
    """Return the point id of a passage: Qdrant takes integers and UUIDs only."""
    return uuid.uuid5(_NAMESPACE, passage_id)


def field_key(field: str) -> str:
    """Return the payload key that filters and facets read for a field; it is indexed."""
    return field if field in BUILT_IN_FIELDS else f"{FIELDS_KEY}.{field}"


def field_payload(passage: Passage, fields: Mapping[str, FieldKind]) -> dict[str, list[Any]]:
    """Return the values of the declared fields, normalised, as the payload keeps them."""
    payload = {
        name: [to_engine(value) for value in field_values(passage, name, kind)]
        for name, kind in fields.items()
    }
    return {name: values for name, values in payload.items() if values}


def to_engine(value: FieldValue) -> str | int | float:
    """Return a value as the engine compares it: booleans are matched as keywords."""
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat()
        case _:
            return value


def to_payload(embedded: EmbeddedPassage, fields: Mapping[str, FieldKind]) -> dict[str, Any]:
    """Return the payload that keeps a passage.

    Metadata travels as JSON text, because the engine's own JSON changes the last digit of one
    float in eight and metadata must come back as it came.
    """
    passage = embedded.passage
    return {
        "id": passage.id,
        "text": passage.text,
        LANGUAGE_KEY: passage.language,
        "parallel_id": passage.parallel_id,
        "document_id": passage.document_id,
        "span": None if passage.span is None else list(passage.span),
        "metadata": json.dumps(passage.metadata, ensure_ascii=False, separators=(",", ":")),
        FIELDS_KEY: field_payload(passage, fields),
        HASH_KEY: embedded.content_hash,
    }


def from_payload(payload: Mapping[str, Any]) -> Passage:
    """Return the passage that ``to_payload`` wrote, now or before passages had all members."""
    span = payload.get("span")
    return Passage(
        id=payload["id"],
        text=payload["text"],
        language=payload[LANGUAGE_KEY],
        parallel_id=payload["parallel_id"],
        metadata=from_json(payload["metadata"]),
        document_id=payload.get("document_id"),
        span=None if span is None else (span[0], span[1]),
    )


def from_point(payload: Mapping[str, Any] | None, vectors: Any) -> EmbeddedPassage:  # noqa: ANN401  of two engines
    """Return what ``to_payload`` was given, from a point with its vectors by name.

    Raises:
        KeyError: The point holds no passage, or has no vector.
        TypeError: Its members are of other types.
        ValueError: They cannot be read.
    """
    found = payload or {}
    vector = np.asarray(vectors[VECTOR_NAME], dtype=np.float32)
    return EmbeddedPassage(from_payload(found), vector, found.get(HASH_KEY, ""))
