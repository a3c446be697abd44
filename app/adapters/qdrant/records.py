"""What the points on a Qdrant server hold, and requests on many of them in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from qdrant_client import models

from app.adapters.passage_payload import from_payload
from app.core.errors import StoreError
from app.core.types import Passage

T = TypeVar("T")


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in pieces."""
    return (items[start : start + size] for start in range(0, len(items), size))


def point_passage(point: models.Record | models.ScoredPoint) -> Passage:
    """Return the passage that a point holds.

    Raises:
        StoreError: It holds none.
    """
    with of_isoglot(point):
        return from_payload(point.payload or {})


@contextmanager
def of_isoglot(point: models.Record | models.ScoredPoint) -> Iterator[None]:
    """Translate what reading a point raises.

    Raises:
        StoreError: It holds no passage of Isoglot.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"The point {point.id} on the Qdrant server holds no passage of Isoglot: {error!r}."
        ) from error
