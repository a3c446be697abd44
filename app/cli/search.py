"""``isoglot search``: one question, here or at a running service."""

from __future__ import annotations

import asyncio
import time

from pydantic import ValidationError

from app.api.convert import to_request, to_response
from app.api.schemas import SearchBody, SearchResponse
from app.bootstrap import open_runtime
from app.cli import console
from app.cli.exits import UsageError
from app.cli.remote import RemoteService
from app.cli.render import search_result
from app.settings import Settings


def run_search(body: SearchBody, *, settings: Settings, url: str | None, as_json: bool) -> None:
    """Search and print the answer.

    Raises:
        InvalidInputError: The request is out of range.
        UsageError: The service says so.
        IsoglotError: The collection cannot be opened, or failed.
        CannotStartError: The service cannot be reached.
    """
    response = asyncio.run(_at(url, body) if url is not None else _here(settings, body))
    if as_json:
        console.results().out(response.model_dump_json(indent=2))
    else:
        search_result(console.results(), response)


def search_body(
    query: str,
    *,
    limit: int,
    language: str | None,
    passages_in: list[str],
    min_probability: float | None,
) -> SearchBody:
    """Return the request that the options describe.

    Raises:
        UsageError: An option cannot be used.
    """
    try:
        return SearchBody.model_validate(
            {
                "query": query,
                "limit": limit,
                "language": {"query": language, "passages": passages_in or None},
                "min_probability": min_probability,
            }
        )
    except ValidationError as error:
        raise UsageError(
            "; ".join(f"{'/'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        ) from error


async def _at(url: str, body: SearchBody) -> SearchResponse:
    async with RemoteService(url) as service:
        return await service.search(body)


async def _here(settings: Settings, body: SearchBody) -> SearchResponse:
    async with open_runtime(settings) as runtime:
        began = time.perf_counter()
        result = await runtime.search.search(to_request(body))
        return to_response(result, body, runtime, took_ms=(time.perf_counter() - began) * 1e3)
