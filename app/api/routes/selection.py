"""Many passages at once: list, count, facets, delete by filter."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Body, Query

from app.api import convert
from app.api.examples import passage as passage_examples
from app.api.problem import answered, documented
from app.api.readiness import Services, ServicesDep
from app.api.schemas.passage import (
    FILTER_DESCRIPTION,
    MAX_FACETS,
    MAX_PAGE,
    CountOut,
    DeleteBody,
    DeletedOut,
    FacetBody,
    FacetsOut,
    FacetValue,
    PassagePage,
    Selection,
)
from app.api.strict_json import JsonRoute, MalformedJsonError, parse_json
from app.core.errors import InvalidInputError, MalformedFilterError
from app.core.passages.filters import parse_filter
from app.core.types import ANY_PASSAGE, JsonValue, PassageFilter

router = APIRouter(route_class=JsonRoute, tags=["passages"])

_SELECTION = documented(400, 409, 413, 415, 422, 500, 503)


@router.get(
    "/v1/passages",
    operation_id="listPassages",
    summary="List passages",
    responses={
        **answered(passage_examples.PAGE_ANSWERS),
        **documented(400, 409, 422, 500, 503),
    },
)
async def list_passages(
    services: ServicesDep,
    limit: Annotated[
        int, Query(ge=1, le=MAX_PAGE, description="How many passages to return at most.")
    ] = 100,
    cursor: Annotated[
        str | None, Query(description="`next_cursor` of the page before.", max_length=4096)
    ] = None,
    filter_text: Annotated[
        str | None,
        Query(
            alias="filter",
            description=f"JSON text. {FILTER_DESCRIPTION}",
            max_length=16384,
            openapi_examples=passage_examples.LIST_FILTERS,
        ),
    ] = None,
) -> PassagePage:
    """Return stored passages page by page.

    Whoever follows `next_cursor` to its end meets every passage that is there all along exactly
    once, whatever is written meanwhile.
    """
    where = _where(services, None if filter_text is None else _parsed(filter_text))
    after = None if cursor is None else _read_cursor(cursor)
    found = await services.store.scan(limit=limit + 1, where=where, after=after)
    shown = found[:limit]
    return PassagePage(
        passages=[convert.from_passage(passage) for passage in shown],
        next_cursor=_cursor(shown[-1].id) if len(found) > limit else None,
    )


@router.post(
    "/v1/passages:count",
    operation_id="countPassages",
    summary="Count passages",
    responses={**answered(passage_examples.COUNT_ANSWERS), **_SELECTION},
)
async def count_passages(
    body: Annotated[Selection, Body(openapi_examples=passage_examples.COUNT_REQUESTS)],
    services: ServicesDep,
) -> CountOut:
    """Return the exact number of passages that a filter selects."""
    return CountOut(count=await services.store.count(_where(services, body.filter)))


@router.post(
    "/v1/passages:facets",
    operation_id="countValues",
    summary="Count the values of a field",
    responses={**answered(passage_examples.FACET_ANSWERS), **_SELECTION},
)
async def count_values(
    body: Annotated[FacetBody, Body(openapi_examples=passage_examples.FACET_REQUESTS)],
    services: ServicesDep,
) -> FacetsOut:
    """Return how many of the selected passages hold each value of a field."""
    if not 1 <= body.limit <= MAX_FACETS:
        raise InvalidInputError(
            f"limit is {body.limit}; it must be 1 to {MAX_FACETS}.", pointer="/limit"
        )
    where = _where(services, body.filter)
    counts = await services.store.facets(body.field, limit=body.limit + 1, where=where)
    values = [FacetValue(value=value, count=count) for value, count in counts.items()]
    return FacetsOut(
        field=body.field, values=values[: body.limit], truncated=len(values) > body.limit
    )


@router.post(
    "/v1/passages:delete",
    operation_id="deletePassages",
    summary="Delete passages by filter",
    responses={**answered(passage_examples.DELETE_ANSWERS), **_SELECTION},
)
async def delete_passages(
    body: Annotated[DeleteBody, Body(openapi_examples=passage_examples.DELETE_REQUESTS)],
    services: ServicesDep,
) -> DeletedOut:
    """Delete every passage that a filter selects; the deletion survives loss of power.

    Nothing is deleted without `expected_count` or `allow_all`: ask with `dry_run` first, and send
    the count that it answers. The count is compared and the passages are deleted without another
    write in between.
    """
    where = _where(services, body.filter)
    if body.dry_run:
        matched = await services.store.count(where)
        return DeletedOut(matched=matched, deleted=0, dry_run=True)
    if body.expected_count is None and not body.allow_all:
        raise InvalidInputError(
            "Send expected_count, as dry_run counts it, or allow_all to delete whatever the "
            "filter selects.",
            pointer="/expected_count",
        )
    deleted = await services.store.delete_where(where, expected=body.expected_count)
    return DeletedOut(matched=deleted, deleted=deleted, dry_run=False)


def _where(services: Services, raw: JsonValue) -> PassageFilter:
    if raw is None:
        return ANY_PASSAGE
    return PassageFilter(condition=parse_filter(raw, services.store.fields))


def _parsed(text: str) -> JsonValue:
    try:
        return parse_json(text.encode())
    except (MalformedJsonError, UnicodeEncodeError) as error:
        raise MalformedFilterError(
            f"The filter is not JSON: {error}.", pointer="/filter"
        ) from error


def _cursor(passage_id: str) -> str:
    return base64.urlsafe_b64encode(passage_id.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(
            "This is not a cursor; send next_cursor as the page before stated it.",
            pointer="/cursor",
        ) from error
