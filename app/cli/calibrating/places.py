"""What is searched to calibrate on: the data directory here, or a running service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from app.api.schemas.answer import SearchResponse
from app.api.schemas.search import SearchBody
from app.api.search_convert import to_request, to_response
from app.bootstrap import open_as_served
from app.cli.calibrating.served_lists import LIST_LENGTH, Searcher
from app.cli.exits import CannotStartError
from app.cli.remote import RemoteService
from app.core.calibration.calibrator import Calibrator
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """What is searched.

    Attributes:
        search: Answers a query.
        stored: Returns those of some passage ids that are stored.
        calibrator: The one that judges there, and that is begun with.
    """

    search: Searcher
    stored: Callable[[Sequence[str]], Awaitable[set[str]]]
    calibrator: Calibrator


def open_place(settings: Settings, url: str | None) -> AbstractAsyncContextManager[Place]:
    """Return what opens the service at ``url``, or the data directory where there is none."""
    if url is None:
        return search_here(settings)
    return search_there(RemoteService(url, key=settings.api_key))


@asynccontextmanager
async def search_here(settings: Settings) -> AsyncIterator[Place]:
    """Open the data directory to search in; raises ``CannotStartError`` without calibrator."""
    async with open_as_served(settings) as runtime:
        calibrator = runtime.bundle.calibrator
        if calibrator is None:
            raise CannotStartError(
                "The bundle has no calibrator to begin with; `isoglot-train calibrate` fits one."
            )

        async def search(query: str, language: str | None) -> SearchResponse:
            body = _body(query, language)
            found = await runtime.search.search(to_request(body, fields=runtime.store.fields))
            return to_response(found, body, runtime, took_ms=0.0)

        async def stored(ids: Sequence[str]) -> set[str]:
            return {passage.id for passage in await runtime.store.get(ids)}

        yield Place(search, stored, calibrator)


@asynccontextmanager
async def search_there(service: RemoteService) -> AsyncIterator[Place]:
    """Use a running service, which goes on answering others meanwhile.

    What is found is only of use while one calibrator judges: it is asked for again at the end.

    Raises:
        CannotStartError: The service cannot be reached, has no calibrator, or was given another
            one meanwhile.
        CalibrationError: Its calibrator is of another version of Isoglot.
    """
    async with service:
        calibrator = Calibrator(await service.calibrator())

        async def search(query: str, language: str | None) -> SearchResponse:
            answer = await service.search(_body(query, language))
            if answer.model.calibrator != calibrator.id:
                raise CannotStartError(
                    f"The service was given another calibrator ({answer.model.calibrator}) in the "
                    f"middle, after {calibrator.id}. Run the command again."
                )
            return answer

        async def stored(ids: Sequence[str]) -> set[str]:
            return {passage for passage in ids if await service.is_stored(passage)}

        yield Place(search, stored, calibrator)


def _body(query: str, language: str | None) -> SearchBody:
    return SearchBody.model_validate(
        {
            "query": query,
            "limit": LIST_LENGTH,
            "rank_by": "score",
            "language": {"query": language or "auto"},
            "diagnostics": ["language"],
        }
    )
