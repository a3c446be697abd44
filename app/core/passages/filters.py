"""Filters: what a filter in JSON means, and whether it holds for a passage.

The grammar is Qdrant's: ``must``, ``should`` and ``must_not`` hold conditions, which are filters
themselves or look at one field (``app.core.passages.fields``), such as
``{"key": "price", "range": {"lt": 10}}``.
Where a field has several values, a condition holds if it holds for one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from app.core.errors import MalformedFilterError
from app.core.passages.fields import (
    EXPECTED,
    FACET_KINDS,
    MAX_INTEGER,
    RANGE_KINDS,
    field_values,
    kind_of,
    read_value,
)
from app.core.types import (
    Condition,
    FieldKind,
    FieldRange,
    Filter,
    IsEmpty,
    JsonValue,
    MatchAny,
    MatchExcept,
    Passage,
    PassageFilter,
)

MAX_DEPTH = 8
"""Deepest nesting of filters."""

MAX_CONDITIONS = 256
"""Most conditions in one filter, nested ones included."""

MAX_VALUES = 1000
"""Most values of one ``any`` or ``except``."""

_CLAUSES = ("must", "should", "must_not")
_BOUNDS = ("gt", "gte", "lt", "lte")
_MATCHES = ("value", "any", "except")
_GRAMMAR = (
    "A condition is {'key': ..., 'match': {'value' | 'any' | 'except': ...}}, {'key': ..., "
    "'range': {'gt' | 'gte' | 'lt' | 'lte': ...}}, {'is_empty': {'key': ...}}, or a filter."
)


def parse_filter(
    raw: JsonValue, fields: Mapping[str, FieldKind], *, pointer: str = "/filter"
) -> Filter:
    """Return the filter that a JSON value means.

    Args:
        raw: An object with ``must``, ``should`` and ``must_not``, each of them optional: a list
            of conditions, or one condition.
        fields: Declared fields, by name.
        pointer: JSON pointer to ``raw``; errors point below it.

    Raises:
        MalformedFilterError: It breaks the grammar, names a field that is not declared, compares
            a field with a value of another kind, or is too large.
    """
    return _Parser(fields).filter(raw, pointer, depth=1)


def combine(first: PassageFilter, second: PassageFilter) -> PassageFilter:
    """Return the filter that holds where both do."""
    languages = [f.languages for f in (first, second) if f.languages is not None]
    conditions = [f.condition for f in (first, second) if f.condition is not None]
    return PassageFilter(
        languages=frozenset.intersection(*languages) if languages else None,
        condition=Filter(must=tuple(conditions)) if len(conditions) == 2 else _first(conditions),
    )


def matches(where: PassageFilter, passage: Passage, fields: Mapping[str, FieldKind]) -> bool:
    """Return whether a passage is eligible.

    Args:
        where: Made by ``parse_filter`` for the same ``fields``.
        passage: The passage.
        fields: Declared fields, by name.
    """
    if where.languages is not None and passage.language not in where.languages:
        return False
    return where.condition is None or _holds(where.condition, passage, fields)


def _holds(condition: Condition, passage: Passage, fields: Mapping[str, FieldKind]) -> bool:
    if isinstance(condition, Filter):
        return (
            all(_holds(c, passage, fields) for c in condition.must)
            and not any(_holds(c, passage, fields) for c in condition.must_not)
            and (not condition.should or any(_holds(c, passage, fields) for c in condition.should))
        )
    kind = kind_of(condition.field, fields, pointer="/filter")
    values = field_values(passage, condition.field, kind)
    match condition:
        case IsEmpty():
            return not values
        case MatchAny():
            return any(value in condition.values for value in values)
        case MatchExcept():
            return any(value not in condition.values for value in values)
        case _:
            return any(_within(condition, value) for value in values)


def _within(bounds: FieldRange, value: Any) -> bool:  # noqa: ANN401  a value of the bounds' kind
    checks: list[tuple[Any, Callable[[Any], bool]]] = [
        (bounds.gt, lambda bound: value > bound),
        (bounds.gte, lambda bound: value >= bound),
        (bounds.lt, lambda bound: value < bound),
        (bounds.lte, lambda bound: value <= bound),
    ]
    return all(holds(bound) for bound, holds in checks if bound is not None)


class _Parser:
    """Reads one filter; counts its conditions."""

    def __init__(self, fields: Mapping[str, FieldKind]) -> None:
        self._fields = fields
        self._conditions = 0

    def filter(self, raw: JsonValue, pointer: str, *, depth: int) -> Filter:
        members = _object(raw, _CLAUSES, pointer)
        if depth > MAX_DEPTH:
            raise MalformedFilterError(
                f"Filters are nested deeper than {MAX_DEPTH} levels.", pointer=pointer
            )
        return Filter(
            **{
                name: self._clause(clause, f"{pointer}/{name}", depth=depth)
                for name, clause in members.items()
            }
        )

    def _clause(self, raw: JsonValue, pointer: str, *, depth: int) -> tuple[Condition, ...]:
        if raw is None:
            return ()
        if not isinstance(raw, list):
            return (self._condition(raw, pointer, depth=depth),)
        return tuple(
            self._condition(item, f"{pointer}/{index}", depth=depth)
            for index, item in enumerate(raw)
        )

    def _condition(self, raw: JsonValue, pointer: str, *, depth: int) -> Condition:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise MalformedFilterError(
                f"The filter has more than {MAX_CONDITIONS} conditions.", pointer=pointer
            )
        if isinstance(raw, dict) and raw and raw.keys() <= set(_CLAUSES):
            return self.filter(raw, pointer, depth=depth + 1)
        members = _object(raw, ("key", "match", "range", "is_empty"), pointer)
        if members.keys() == {"is_empty"}:
            inner = _object(members["is_empty"], ("key",), f"{pointer}/is_empty")
            return IsEmpty(self._field(inner, f"{pointer}/is_empty")[0])
        field, kind = self._field(members, pointer)
        match {name: value for name, value in members.items() if name != "key"}:
            case {"match": match_raw, **rest} if not rest:
                return _match(field, kind, match_raw, f"{pointer}/match")
            case {"range": range_raw, **rest} if not rest:
                return _range(field, kind, range_raw, f"{pointer}/range")
            case {"is_empty": bool(empty), **rest} if not rest:
                return IsEmpty(field) if empty else Filter(must_not=(IsEmpty(field),))
            case _:
                raise MalformedFilterError(
                    f"A key takes one of match, range and is_empty. {_GRAMMAR}", pointer=pointer
                )

    def _field(self, members: Mapping[str, JsonValue], pointer: str) -> tuple[str, FieldKind]:
        field = members.get("key")
        if not isinstance(field, str):
            raise MalformedFilterError(
                f"The condition names no field as its key. {_GRAMMAR}", pointer=pointer
            )
        return field, kind_of(field, self._fields, pointer=f"{pointer}/key")


def _match(field: str, kind: FieldKind, raw: JsonValue, pointer: str) -> MatchAny | MatchExcept:
    if kind not in FACET_KINDS:
        raise MalformedFilterError(
            f"{field!r} is {EXPECTED[kind]}; use range instead of match.", pointer=pointer
        )
    members = _object(raw, _MATCHES, pointer)
    if len(members) != 1:
        raise MalformedFilterError(
            "match takes exactly one of value, any and except.", pointer=pointer
        )
    [(form, operand)] = members.items()
    if form == "value":
        operand = [operand]
        places = [f"{pointer}/value"]
    elif isinstance(operand, list) and len(operand) <= MAX_VALUES:
        places = [f"{pointer}/{form}/{index}" for index in range(len(operand))]
    else:
        raise MalformedFilterError(
            f"{form} takes a list of at most {MAX_VALUES} values.", pointer=f"{pointer}/{form}"
        )
    values = frozenset(
        _value(field, kind, item, place) for item, place in zip(operand, places, strict=True)
    )
    return MatchExcept(field, values) if form == "except" else MatchAny(field, values)


def _range(field: str, kind: FieldKind, raw: JsonValue, pointer: str) -> FieldRange:
    if kind not in RANGE_KINDS:
        raise MalformedFilterError(
            f"{field!r} is {EXPECTED[kind]}; use match instead of range.", pointer=pointer
        )
    members = _object(raw, _BOUNDS, pointer)
    bounds = {
        name: _bound(name, kind, bound, field=field, pointer=f"{pointer}/{name}")
        for name, bound in members.items()
        if bound is not None
    }
    if not bounds:
        raise MalformedFilterError(
            "range takes at least one of gt, gte, lt and lte.", pointer=pointer
        )
    return FieldRange(field, **bounds)


def _bound(
    name: str, kind: FieldKind, raw: JsonValue, *, field: str, pointer: str
) -> float | datetime:
    if kind == "integer" and isinstance(raw, float) and abs(raw) <= MAX_INTEGER:
        # Engines cut the fraction off, whichever side the bound is on.
        raw = math.floor(raw) if name in {"gt", "lte"} else math.ceil(raw)
    bound: float | datetime = _value(field, kind, raw, pointer)
    return bound


def _value(field: str, kind: FieldKind, raw: JsonValue, pointer: str) -> Any:  # noqa: ANN401
    value = read_value(raw, kind)
    if value is None:
        raise MalformedFilterError(
            f"{raw!r:.80} cannot be compared with {field!r}, which is {EXPECTED[kind]}.",
            pointer=pointer,
        )
    return value


def _object(raw: JsonValue, allowed: Collection[str], pointer: str) -> dict[str, JsonValue]:
    if not isinstance(raw, dict):
        raise MalformedFilterError(
            f"Expected an object with {', '.join(allowed)}. {_GRAMMAR}", pointer=pointer
        )
    for name in raw:
        if name not in allowed:
            step = name.replace("~", "~0").replace("/", "~1")
            raise MalformedFilterError(
                f"{name!r:.80} is not known here; use {', '.join(allowed)}. {_GRAMMAR}",
                pointer=f"{pointer}/{step}",
            )
    return raw


def _first(conditions: list[Filter]) -> Filter | None:
    return conditions[0] if conditions else None
