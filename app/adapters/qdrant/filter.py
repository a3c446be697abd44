"""Filters and payload indexes in the words of the Qdrant client."""

from __future__ import annotations

from qdrant_client import models

from app.adapters.filter_values import limits, moments, operands
from app.adapters.passage_payload import LANGUAGE_KEY, field_key
from app.core.access.tenancy import TENANT_FIELD
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


def index_schema(field: str, kind: FieldKind) -> models.PayloadSchemaParams:
    """Return how a field is indexed; the stamp of tenants also decides how points are grouped."""
    match kind:
        case "keyword" | "bool":
            return models.KeywordIndexParams(
                type=models.KeywordIndexType.KEYWORD,
                is_tenant=True if field == TENANT_FIELD else None,
            )
        case "integer":
            return models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER)
        case "float":
            return models.FloatIndexParams(type=models.FloatIndexType.FLOAT)
        case "datetime":
            return models.DatetimeIndexParams(type=models.DatetimeIndexType.DATETIME)


def server_filter(where: PassageFilter) -> models.Filter | None:
    """Return what the server filters by; ``None`` where every passage is eligible."""
    must: list[models.Condition] = []
    if where.languages is not None:
        must.append(_condition(MatchAny(LANGUAGE_KEY, where.languages)))
    if where.condition is not None:
        must.append(_condition(where.condition))
    return models.Filter(must=must) if must else None


def _condition(condition: Condition) -> models.Condition:
    match condition:
        case Filter():
            return models.Filter(
                must=[_condition(c) for c in condition.must] or None,
                should=[_condition(c) for c in condition.should] or None,
                must_not=[_condition(c) for c in condition.must_not] or None,
            )
        case IsEmpty():
            return models.IsEmptyCondition(
                is_empty=models.PayloadField(key=field_key(condition.field))
            )
        case MatchAny():
            return _match(condition.field, models.MatchAny(any=operands(condition)))
        case MatchExcept():
            match = models.MatchExcept(**{"except": operands(condition)})
            return _match(condition.field, match)
        case FieldRange():
            return models.FieldCondition(key=field_key(condition.field), range=_range(condition))


def _match(field: str, match: models.MatchAny | models.MatchExcept) -> models.FieldCondition:
    return models.FieldCondition(key=field_key(field), match=match)


def _range(bounds: FieldRange) -> models.Range | models.DatetimeRange:
    when = moments(bounds)
    return models.DatetimeRange(**when) if when else models.Range(**limits(bounds))
