"""What filters compare with, as both engines take it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from app.adapters.passage_payload import to_engine
from app.core.types import FieldRange, MatchAny, MatchExcept

_LIMITS = ("gt", "gte", "lt", "lte")


def operands(condition: MatchAny | MatchExcept) -> list[str] | list[int]:
    """Return the values of a condition, all integers or all keywords, in order."""
    values = [to_engine(value) for value in condition.values]
    integers = [value for value in values if isinstance(value, int)]
    return sorted(integers) or sorted(str(value) for value in values)


def limits(bounds: FieldRange) -> dict[str, Any]:
    """Return the limits that are set, by name."""
    given = {name: getattr(bounds, name) for name in _LIMITS}
    return {name: limit for name, limit in given.items() if limit is not None}


def moments(bounds: FieldRange) -> dict[str, datetime]:
    """Return those of the limits that are points in time."""
    return {name: limit for name, limit in limits(bounds).items() if isinstance(limit, datetime)}
