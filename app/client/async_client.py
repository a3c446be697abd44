"""The asynchronous client: as the synchronous one, but it does not block while it waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack

import httpx

from app.client import calls
from app.client.calls import (
    DEFAULT_TIMEOUT,
    DEFAULT_URL,
    Call,
    Judgement,
    Passage,
    Search,
    SearchOptions,
    Source,
)
from app.client.errors import ConnectionFailedError, Failure, raise_failure
from app.client.results import (
    BatchItem,
    FeedbackReceipt,
    Health,
    Line,
    SearchResult,
    StoredPassage,
    UploadReport,
)
from app.client.retries import Retries

Result = TypeVar("Result")


class AsyncIsoglot:
    """A service, called asynchronously; an asynchronous context manager.

    Args:
        url: Address of the service.
        api_key: API key, where the service needs one.
        timeout: Seconds without a sign of life after which a request is given up.
        retries: When to try again.
        transport: How requests travel; over the network by default.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._retries = retries or Retries()
        self._client = httpx.AsyncClient(
            base_url=url, headers=calls.headers(api_key), timeout=timeout, transport=transport
        )
        self.passages = AsyncPassages(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def search(self, query: str, **options: Unpack[SearchOptions]) -> SearchResult:
        """Find the passages that answer a query.

        Raises:
            IsoglotClientError: See ``app.client.errors``.
        """
        return await self.send(calls.search(query, options))

    async def search_batch(self, searches: Iterable[str | Search]) -> tuple[BatchItem, ...]:
        """Answer several searches at once, each with a result or a problem; raises as above."""
        return await self.send(calls.search_batch(searches))

    async def feedback(
        self, token: str, *, relevant: bool | None = None, source: Source = "explicit"
    ) -> FeedbackReceipt:
        """Say whether a hit answers its query; the latest label counts.

        Args:
            token: ``feedback_token`` of the hit.
            relevant: The label; left out for a click.
            source: ``explicit``: a user says so; ``judged``: an assessor does; ``click``.

        Raises:
            IsoglotClientError: See ``app.client.errors``.
        """
        return await self.send(calls.feedback(token, relevant=relevant, source=source))

    async def withdraw_feedback(
        self, token: str, *, source: Source = "explicit"
    ) -> FeedbackReceipt:
        """Take the label of a hit back, as if it had not been given.

        Args:
            token: ``feedback_token`` of the hit.
            source: Who takes it back; only ``judged`` does where an assessor gave it.

        Raises:
            IsoglotClientError: See ``app.client.errors``.
        """
        return await self.send(calls.withdraw_feedback(token, source=source))

    async def feedback_batch(self, judgements: Iterable[Judgement]) -> tuple[FeedbackReceipt, ...]:
        """Say of up to 1000 hits whether they are relevant; a bad token spoils no other."""
        return await self.send(calls.feedback_batch(judgements))

    async def calibration_document(
        self, retrieval: Literal["dense", "hybrid"] = "dense"
    ) -> dict[str, Any]:
        """Return the active calibrator as ``calibrator.json`` holds it.

        Args:
            retrieval: ``hybrid`` for that of hybrid searches.

        Raises:
            NotFoundError: There is none.
        """
        return await self.send(calls.calibration_document(retrieval))

    async def health(self) -> Health:
        """Return whether the service is ready; one that does not answer is not."""
        try:
            return await self.send(calls.health())
        except ConnectionFailedError as error:
            return Health(is_ready=False, detail=str(error))

    async def send(self, call: Call[Result]) -> Result:
        """Send a request, again if need be, and read its answer."""
        attempt = 1
        while True:
            answer = await self._attempt(call)
            if isinstance(answer, httpx.Response) and call.understands(answer):
                return call.read(answer)
            wait = self._retries.wait(answer, attempt)
            if wait is None:
                raise_failure(answer)
            await asyncio.sleep(wait)
            attempt += 1

    async def _attempt(self, call: Call[Result]) -> Failure:
        try:
            return await self._client.send(call.request(self._client))
        except httpx.TransportError as error:
            return error


class AsyncPassages:
    """The passages of a service."""

    def __init__(self, service: AsyncIsoglot) -> None:
        self._service = service

    async def upsert(self, passages: Iterable[Passage]) -> UploadReport:
        """Store passages; those with an id that is there are replaced.

        Takes any number of them: they are read as they are sent. Passages that cannot be stored
        are reported, and the others are stored.

        Raises:
            IsoglotClientError: A piece could not be sent; those before it are stored.
        """
        tally = calls.Tally()
        async for line in self.upsert_each(passages):
            tally.add([line])
        return tally.report()

    async def upsert_each(self, passages: Iterable[Passage]) -> AsyncIterator[Line]:
        """Store passages as ``upsert`` does, and yield what became of each."""
        for first, piece in calls.pieces(passages):
            for line in await self._service.send(calls.upload(piece, first=first)):
                yield line

    async def get(self, passage_id: str) -> StoredPassage:
        """Return a passage.

        Raises:
            NotFoundError: There is none with that id.
        """
        return await self._service.send(calls.get(passage_id))

    async def delete(self, passage_id: str) -> None:
        """Delete a passage; raises as ``get``."""
        await self._service.send(calls.delete(passage_id))
