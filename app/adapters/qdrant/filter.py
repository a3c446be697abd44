"""Filters and payload indexes in the words of the Qdrant client."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from qdrant_client import models

from app.adapters.passage_payload import LANGUAGE_KEY, field_key, to_engine
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
            return _match(condition.field, models.MatchAny(any=_operands(condition)))
        case MatchExcept():
            match = models.MatchExcept(**{"except": _operands(condition)})
            return _match(condition.field, match)
        case FieldRange():
            return models.FieldCondition(key=field_key(condition.field), range=_range(condition))


def _match(field: str, match: models.MatchAny | models.MatchExcept) -> models.FieldCondition:
    return models.FieldCondition(key=field_key(field), match=match)


def _operands(condition: MatchAny | MatchExcept) -> list[str] | list[int]:
    values = [to_engine(value) for value in condition.values]
    integers = [value for value in values if isinstance(value, int)]
    return sorted(integers) or sorted(str(value) for value in values)


def _range(bounds: FieldRange) -> models.Range | models.DatetimeRange:
    given = {
        name: bound
        for name in ("gt", "gte", "lt", "lte")
        if (bound := getattr(bounds, name)) is not None
    }
    moments: Mapping[str, datetime] = {
        name: bound for name, bound in given.items() if isinstance(bound, datetime)
    }
    return models.DatetimeRange(**moments) if moments else models.Range(**given)
