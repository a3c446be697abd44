"""``isoglot search``: one question, here or at a running service."""

from __future__ import annotations

import asyncio
import time
from typing import TypedDict, Unpack

from pydantic import JsonValue, SecretStr, ValidationError

from app.api.schemas.answer import SearchResponse
from app.api.schemas.search import SearchBody
from app.api.search_convert import to_request, to_response
from app.api.strict_json import MalformedJsonError, parse_json
from app.bootstrap import open_as_served
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
    response = asyncio.run(
        _at(url, settings.api_key, body) if url is not None else _here(settings, body)
    )
    if as_json:
        console.results().out(response.model_dump_json(indent=2))
    else:
        search_result(console.results(), response)


class SearchOptions(TypedDict):
    """Options of the command, as they were given."""

    limit: int
    offset: int
    language: str | None
    passages_in: list[str]
    prefer: list[str]
    balance: bool
    retrieval: str
    filter: str | None
    min_probability: float | None
    target_precision: float | None
    explain: bool


def search_body(query: str, **options: Unpack[SearchOptions]) -> SearchBody:
    """Return the request that the options describe.

    Raises:
        UsageError: An option cannot be used.
    """
    if options["balance"] and options["prefer"]:
        raise UsageError("--balance and --prefer are two orders; choose one.")
    mode = "prefer" if options["prefer"] else "balance" if options["balance"] else "any"
    language = {
        "query": options["language"],
        "passages": options["passages_in"] or None,
        "mode": mode,
        "prefer": dict(map(_weight, options["prefer"])) or None,
    }
    same = ("limit", "offset", "min_probability", "target_precision", "retrieval")
    body = {
        "query": query,
        "language": language,
        "filter": _filter(options["filter"]),
        "explain": "full" if options["explain"] else "none",
        **{name: value for name, value in options.items() if name in same},
    }
    try:
        return SearchBody.model_validate(body)
    except ValidationError as error:
        raise UsageError(
            "; ".join(f"{'/'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        ) from error


def _weight(option: str) -> tuple[str, float]:
    language, _, weight = option.partition("=")
    try:
        return language, float(weight or 1.0)
    except ValueError as error:
        raise UsageError(f"--prefer {option} must be LANGUAGE or LANGUAGE=WEIGHT.") from error


def _filter(option: str | None) -> JsonValue:
    try:
        return None if option is None else parse_json(option.encode())
    except MalformedJsonError as error:
        raise UsageError(f"--filter is not JSON: {error}.") from error


async def _at(url: str, key: SecretStr | None, body: SearchBody) -> SearchResponse:
    async with RemoteService(url, key=key) as service:
        return await service.search(body)


async def _here(settings: Settings, body: SearchBody) -> SearchResponse:
    async with open_as_served(settings) as runtime:
        began = time.perf_counter()
        result = await runtime.search.search(to_request(body, fields=runtime.store.fields))
        return to_response(result, body, runtime, took_ms=(time.perf_counter() - began) * 1e3)
