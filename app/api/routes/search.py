"""POST /v1/search, POST /search, which is the same, and several of them at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Request, Response
from starlette.background import BackgroundTask

from app.api import search_convert
from app.api.access import charge_of
from app.api.direct_route import SearchRoute
from app.api.errors import problem_for
from app.api.examples import search as examples
from app.api.problem import Problem, answered, documented
from app.api.readiness import MetricsDep, Services, ServicesDep
from app.api.routes.diagnostics import router as diagnostics
from app.api.schemas.answer import BatchItem, SearchBatchResponse, SearchResponse
from app.api.schemas.search import SearchBatch, SearchBody
from app.api.search_counting import count_search
from app.api.wire import json_response
from app.core.errors import InvalidInputError, IsoglotError
from app.core.search.types import SearchRequest, SearchResult
from app.telemetry.metrics import Metrics
from app.telemetry.traces import record_stages

router = APIRouter(route_class=SearchRoute, tags=["search"])
router.include_router(diagnostics)

_ERRORS = documented(400, 409, 410, 413, 415, 422, 500, 503, 504)
_RESPONSES: dict[int | str, dict[str, Any]] = {
    **answered(examples.SEARCH_RESPONSES),
    **_ERRORS,
}
_BATCH_RESPONSES: dict[int | str, dict[str, Any]] = {
    **answered(examples.BATCH_RESPONSES),
    **documented(400, 409, 413, 415, 422, 500, 503),
}

AcceptLanguage = Annotated[
    str | None,
    Header(description="Weights of languages for mode `prefer`, where the body has none."),
]


@router.post(
    "/v1/search",
    operation_id="searchPassages",
    summary="Search",
    response_model=SearchResponse,
    responses=_RESPONSES,
)
@router.post(
    "/search",
    operation_id="searchPassagesAlias",
    summary="Search (short path)",
    response_model=SearchResponse,
    responses=_RESPONSES,
)
async def search(
    body: Annotated[SearchBody, Body(openapi_examples=examples.SEARCH_REQUESTS)],
    request: Request,
    services: ServicesDep,
    metrics: MetricsDep,
    accept_language: AcceptLanguage = None,
) -> Response:
    """Find the passages that answer a query, in any language, with probabilities."""
    began = time.perf_counter()
    asked = search_convert.to_request(
        body, fields=services.store.fields, accept_language=accept_language
    )
    result = await services.search.search(asked)
    request.state.stages = result.timings
    record_stages(result.timings)
    took_ms = (time.perf_counter() - began) * 1e3
    answer = json_response(search_convert.to_response(result, body, services, took_ms=took_ms))
    answer.background = BackgroundTask(_count, metrics, result)
    return answer


@router.post(
    "/v1/search:batch",
    operation_id="searchPassagesBatch",
    summary="Search for several things at once",
    response_model=SearchBatchResponse,
    responses=_BATCH_RESPONSES,
)
async def search_batch(
    body: Annotated[SearchBatch, Body(openapi_examples=examples.BATCH_REQUESTS)],
    request: Request,
    services: ServicesDep,
    metrics: MetricsDep,
    accept_language: AcceptLanguage = None,
) -> Response:
    """Answer several searches with one pass of the encoder and one call of the store.

    A search that cannot be answered has a problem in its place and leaves the others alone. A
    body of the wrong shape is refused as a whole.
    """
    began = time.perf_counter()
    charge_of(request)(len(body.searches) - 1)
    asked = [_asked(single, services, accept_language) for single in body.searches]
    usable = [single for single in asked if isinstance(single, SearchRequest)]
    found = iter(await services.search.search_many(usable))
    results = [next(found) if isinstance(single, SearchRequest) else single for single in asked]
    took_ms = (time.perf_counter() - began) * 1e3
    # The stages are those of the whole batch: they are counted once.
    stages: Mapping[str, float] = {}
    for result in results:
        if isinstance(result, SearchResult):
            count_search(metrics, result, {} if stages else result.timings)
            stages = result.timings
    request.state.stages = stages
    record_stages(stages)
    return json_response(
        SearchBatchResponse(
            results=[
                _item(request, result, single, services, took_ms=took_ms)
                for result, single in zip(results, body.searches, strict=True)
            ],
            took_ms=round(took_ms, 3),
        )
    )


async def _count(metrics: Metrics, result: SearchResult) -> None:
    # Once the answer is sent; a coroutine, because others are given a thread.
    count_search(metrics, result, result.timings)


def _asked(
    body: SearchBody, services: Services, accept_language: str | None
) -> SearchRequest | InvalidInputError:
    try:
        return search_convert.to_request(
            body, fields=services.store.fields, accept_language=accept_language
        )
    except InvalidInputError as error:
        return error


def _item(
    request: Request,
    result: SearchResult | IsoglotError,
    body: SearchBody,
    services: Services,
    *,
    took_ms: float,
) -> BatchItem:
    if isinstance(result, IsoglotError):
        problem = Problem.model_validate_json(bytes(problem_for(request, result).body))
        return BatchItem(status=problem.status, response=None, problem=problem)
    response = search_convert.to_response(result, body, services, took_ms=took_ms)
    return BatchItem(status=200, response=response, problem=None)
