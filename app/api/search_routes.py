"""POST /v1/search, and POST /search, which is the same."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from app.api import convert, examples
from app.api.problem import documented
from app.api.readiness import MetricsDep, ServicesDep
from app.api.schemas import SearchBody, SearchResponse
from app.api.strict_json import JsonRoute

router = APIRouter(route_class=JsonRoute, tags=["search"])

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"examples": examples.SEARCH_RESPONSES}}},
    **documented(400, 409, 413, 415, 422, 500, 503),
}


@router.post(
    "/v1/search",
    operation_id="searchPassages",
    summary="Search",
    responses=_RESPONSES,
)
@router.post(
    "/search",
    operation_id="searchPassagesAlias",
    summary="Search (short path)",
    responses=_RESPONSES,
)
async def search(
    body: Annotated[SearchBody, Body(openapi_examples=examples.SEARCH_REQUESTS)],
    request: Request,
    services: ServicesDep,
    metrics: MetricsDep,
) -> SearchResponse:
    """Find the passages that answer a query, in any language, with probabilities."""
    began = time.perf_counter()
    result = await services.search.search(convert.to_request(body))
    request.state.stages = result.timings
    metrics.search_answered(
        outcome=result.outcome,
        stage_milliseconds=result.timings,
        probabilities=[
            (convert.relation(hit), hit.probability)
            for hit in result.hits
            if hit.probability is not None
        ],
    )
    took_ms = (time.perf_counter() - began) * 1e3
    return convert.to_response(result, body, services, took_ms=took_ms)
