"""What the engine speaks: its errors, its vectors, its points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

import qdrant_edge as qe

from app.adapters.passage_payload import VECTOR_NAME, from_payload
from app.core.errors import StoreError
from app.core.types import Passage, VectorArray


@contextmanager
def engine_errors(action: str) -> Iterator[None]:
    """Translate what the engine raises.

    Args:
        action: What was tried, to complete "The storage engine could not ...".

    Raises:
        StoreError: Anything went wrong inside.
    """
    try:
        yield
    except Exception as error:
        raise StoreError(f"The storage engine could not {action}: {error}") from error


def vector_config(dim: int) -> dict[str, qe.EdgeVectorParams]:
    """Return the vectors of a shard: one, named, compared by cosine."""
    return {VECTOR_NAME: qe.EdgeVectorParams(size=dim, distance=qe.Distance.Cosine)}


def vector_numbers(vector: VectorArray) -> list[float]:
    """Return a vector as it is: the engine reads numpy arrays; its type stub knows lists only."""
    return cast("list[float]", vector)


def point_number(key: qe.PointId) -> int:
    """Return the number of a point's UUID: a UUID is hashed and compared in Python."""
    assert isinstance(key, UUID)  # this shard writes no others
    return key.int


def record_passage(record: qe.Record) -> Passage:
    """Return the passage that a point holds."""
    payload = record.payload  # converted anew each time it is read
    assert payload is not None
    return from_payload(payload)
