"""Fields that filters and facets read: their names, their kinds, and the values they hold.

A field is a member of the metadata that has been declared with its kind, or one of
``BUILT_IN_FIELDS``. Where a member holds a list, each item is a value of the field; values that
are not of the declared kind do not count.

Numbers of a ``float`` field are compared by their first 15 significant digits, and those of an
``integer`` field lie between -(2**53 - 1) and 2**53 - 1: within these bounds every engine agrees.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import get_args

from app.core.errors import MalformedFilterError
from app.core.types import FieldKind, FieldValue, Passage

BUILT_IN_FIELDS: Mapping[str, FieldKind] = MappingProxyType(
    {"language": "keyword", "parallel_id": "keyword", "document_id": "keyword"}
)
"""Fields that every passage can be filtered by, beside those that are declared."""

FACET_KINDS: frozenset[FieldKind] = frozenset({"keyword", "integer", "bool"})
"""Kinds of fields that ``match`` and facets work on."""

RANGE_KINDS: frozenset[FieldKind] = frozenset({"integer", "float", "datetime"})
"""Kinds of fields that ``range`` works on."""

MAX_INTEGER = 2**53 - 1
"""Largest integer of an ``integer`` field; beyond it neighbours are the same float."""

EXPECTED: Mapping[FieldKind, str] = {
    "keyword": "a string (keyword)",
    "integer": "an integer of at most 53 bits (integer)",
    "float": "a number (float)",
    "bool": "true or false (bool)",
    "datetime": "a date or time in ISO 8601 (datetime)",
}
"""Kind to what it holds, in words that complete "... is"."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")


def check_fields(fields: Mapping[str, str]) -> dict[str, FieldKind]:
    """Return declared fields as they came.

    Args:
        fields: Name of a member of the metadata to its kind.

    Raises:
        ValueError: A name cannot be used, or a kind is unknown.
    """
    kinds: dict[str, FieldKind] = {kind: kind for kind in get_args(FieldKind)}
    for name, kind in fields.items():
        if not _NAME.match(name):
            raise ValueError(
                f"{name!r} cannot be a field: use 1 to 64 letters, digits, '_' and '-', and "
                "begin with a letter or '_'."
            )
        if name in BUILT_IN_FIELDS:
            raise ValueError(f"{name!r} is always a field; leave it out.")
        if kind not in kinds:
            raise ValueError(f"{name!r} is declared as {kind!r}; use one of {', '.join(kinds)}.")
    return {name: kinds[kind] for name, kind in fields.items()}


def kind_of(field: str, fields: Mapping[str, FieldKind], *, pointer: str) -> FieldKind:
    """Return the kind of a declared or built-in field.

    Raises:
        MalformedFilterError: It is neither.
    """
    known = {**BUILT_IN_FIELDS, **fields}
    if field not in known:
        raise MalformedFilterError(
            f"{field!r} is not a declared field. Declared are {', '.join(public_fields(known))}; "
            "the service declares others by ISOGLOT_FILTER_FIELDS.",
            pointer=pointer,
        )
    return known[field]


def public_fields(fields: Mapping[str, FieldKind]) -> dict[str, FieldKind]:
    """Return the fields that callers are told of: those of the service itself begin with ``_``."""
    return {name: fields[name] for name in sorted(fields) if not name.startswith("_")}


def field_values(passage: Passage, field: str, kind: FieldKind) -> list[FieldValue]:
    """Return the values of a field as filters compare them; those of another kind are left out."""
    raw: object = (
        getattr(passage, field) if field in BUILT_IN_FIELDS else passage.metadata.get(field)
    )
    values = (read_value(item, kind) for item in (raw if isinstance(raw, list) else [raw]))
    return [value for value in values if value is not None]


def kind_problem(passage: Passage, fields: Mapping[str, FieldKind]) -> tuple[str, str] | None:
    """Return the first declared field that holds a value of another kind, and what is wrong."""
    for name, kind in fields.items():
        raw = passage.metadata.get(name)
        for item in raw if isinstance(raw, list) else [raw]:
            if item is not None and read_value(item, kind) is None:
                return name, f"holds {item!r:.80}, but {name!r} is declared as {EXPECTED[kind]}"
    return None


def read_value(raw: object, kind: FieldKind) -> FieldValue | None:
    """Return a JSON value as filters compare it; ``None`` where it is not of that kind.

    Dates and times in ISO 8601 that name no offset are UTC.
    """
    return _READERS[kind](raw)


def _keyword(raw: object) -> str | None:
    return raw if isinstance(raw, str) else None


def _integer(raw: object) -> int | None:
    if not isinstance(raw, int) or isinstance(raw, bool) or abs(raw) > MAX_INTEGER:
        return None
    return raw


def _float(raw: object) -> float | None:
    if not isinstance(raw, int | float) or isinstance(raw, bool):
        return None
    try:
        number = float(f"{raw:.15g}") + 0.0  # adding zero makes -0.0 the same as 0.0
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _bool(raw: object) -> bool | None:
    return raw if isinstance(raw, bool) else None


def _datetime(raw: object) -> datetime | None:
    if not isinstance(raw, str):
        return None
    try:
        moment = datetime.fromisoformat(raw)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_READERS: Mapping[FieldKind, Callable[[object], FieldValue | None]] = {
    "keyword": _keyword,
    "integer": _integer,
    "float": _float,
    "bool": _bool,
    "datetime": _datetime,
}
