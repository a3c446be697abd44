"""Filters and payload indexes in the words of Qdrant Edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import qdrant_edge as qe

from app.adapters.filter_values import limits, moments, operands
from app.adapters.passage_payload import LANGUAGE_KEY, field_key
from app.core.passages.fields import BUILT_IN_FIELDS
from app.core.types import (
    Condition,
    FieldKind,
    FieldRange,
    Filter,
    IsEmpty,
    MatchAny,
    MatchExcept,
    PassageFilter,
)

_INDEX_PARAMS: Mapping[FieldKind, Callable[[], qe.PayloadSchemaParams]] = {
    "keyword": qe.KeywordIndexParams,
    "integer": qe.IntegerIndexParams,
    "float": qe.FloatIndexParams,
    "bool": qe.KeywordIndexParams,
    "datetime": qe.DatetimeIndexParams,
}


def create_index(field: str, kind: FieldKind) -> qe.UpdateOperation:
    """Return the operation that indexes a field; it costs nothing where the index exists."""
    return qe.UpdateOperation.create_field_index(field_key(field), _INDEX_PARAMS[kind]())


def drop_index(field: str) -> qe.UpdateOperation:
    """Return the operation that forgets the index of a field."""
    return qe.UpdateOperation.delete_field_index(field_key(field))


def indexed_fields(fields: Mapping[str, FieldKind]) -> dict[str, FieldKind]:
    """Return every field that carries an index: those built in, and those declared."""
    return {**BUILT_IN_FIELDS, **fields}


def engine_filter(where: PassageFilter) -> qe.Filter | None:
    """Return what the engine filters by; ``None`` where every passage is eligible."""
    must: list[qe.FieldCondition | qe.Filter | qe.IsEmptyCondition] = []
    if where.languages is not None:
        must.append(_condition(MatchAny(LANGUAGE_KEY, where.languages)))
    if where.condition is not None:
        must.append(_condition(where.condition))
    return qe.Filter(must=list(must)) if must else None


def _condition(
    condition: Condition,
) -> qe.FieldCondition | qe.Filter | qe.IsEmptyCondition:
    match condition:
        case Filter():
            return qe.Filter(
                must=[_condition(c) for c in condition.must],
                should=[_condition(c) for c in condition.should],
                must_not=[_condition(c) for c in condition.must_not],
            )
        case IsEmpty():
            return qe.IsEmptyCondition(field_key(condition.field))
        case MatchAny():
            return _match(condition.field, qe.MatchAny(operands(condition)))
        case MatchExcept():
            return _match(condition.field, qe.MatchExcept(operands(condition)))
        case FieldRange():
            return qe.FieldCondition(field_key(condition.field), range=_range(condition))


def _match(field: str, match: qe.MatchAny | qe.MatchExcept) -> qe.FieldCondition:
    return qe.FieldCondition(field_key(field), match=match)


def _range(bounds: FieldRange) -> qe.RangeFloat | qe.RangeDateTime:
    when = moments(bounds)
    if when:
        return qe.RangeDateTime(**{name: moment.isoformat() for name, moment in when.items()})
    return qe.RangeFloat(**limits(bounds))
