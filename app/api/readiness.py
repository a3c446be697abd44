"""Whether the service can answer yet, and with what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import Depends, Request

from app.api.access import access_of
from app.api.errors import api_error
from app.core.bundle import Bundle
from app.core.encoding import EncoderThread
from app.core.errors import IsoglotError
from app.core.feedback.service import FeedbackService
from app.core.passages.ingest import IngestService
from app.core.ports import PassageStore
from app.core.reindexing.progress import Reindexing
from app.core.search.embeddings import EmbeddingService
from app.core.search.reranking import RerankService
from app.core.search.service import SearchService
from app.telemetry.metrics import Metrics


class Services(Protocol):
    """What the routes need of a running service."""

    @property
    def bundle(self) -> Bundle:
        """The loaded bundle."""
        ...

    @property
    def collection(self) -> str:
        """Name of the served collection."""
        ...

    @property
    def store(self) -> PassageStore:
        """The opened collection."""
        ...

    @property
    def search(self) -> SearchService:
        """Answers searches."""
        ...

    @property
    def ingest(self) -> IngestService:
        """Adds, returns and removes passages."""
        ...

    @property
    def feedback(self) -> FeedbackService | None:
        """Takes feedback; ``None`` where none can be kept."""
        ...

    @property
    def encoder(self) -> EncoderThread:
        """The encoder on its thread."""
        ...

    @property
    def embeddings(self) -> EmbeddingService:
        """Embeds texts."""
        ...

    @property
    def rerank(self) -> RerankService:
        """Ranks documents that are not stored."""
        ...

    def for_tenant(self, tenant: str) -> Services:
        """Return the same for the passages of one tenant, beside which there are no others."""
        ...


class Administration(Protocol):
    """What an operator can ask of a running service."""

    @property
    def reindexing(self) -> Reindexing | None:
        """The last reindexing that was begun; ``None`` where none was."""
        ...

    async def load(self, directory: Path) -> Bundle:
        """Serve another bundle with the same encoder."""
        ...

    async def start_reindexing(self, directory: Path) -> Reindexing:
        """Begin to embed all passages with the encoder of another bundle."""
        ...

    async def cancel_reindexing(self) -> None:
        """Stop a reindexing that is under way."""
        ...


class _Generation:
    """Services, and how many requests are being answered with them."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.drained = asyncio.Event()
        self._requests = 0
        self._is_over = False

    @contextmanager
    def lease(self) -> Iterator[Services]:
        self._requests += 1
        try:
            yield self.services
        finally:
            self._requests -= 1
            self._settle()

    def end(self) -> None:
        self._is_over = True
        self._settle()

    def _settle(self) -> None:
        if self._is_over and not self._requests:
            self.drained.set()


class Readiness:
    """Starts out as not ready, then holds either the services or the reason there are none.

    Args:
        metrics: Where it is stated, for those who watch.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._generation: _Generation | None = None
        self._failure: Exception | None = None
        self._is_waiting = False

    def succeed(self, services: Services) -> asyncio.Event:
        """Answer requests that begin from now on with these services.

        Returns:
            Set once no request is answered with the services from before any more.
        """
        before, self._generation = self._generation, _Generation(services)
        self._failure = None
        self._is_waiting = False
        self._metrics.ready(is_ready=True)
        if before is None:
            before = _Generation(services)
        before.end()
        return before.drained

    def wait(self, obstacle: Exception) -> None:
        """Refuse requests for this reason, which is expected to pass."""
        self._is_waiting = True
        self._failure = obstacle

    def fail(self, failure: Exception) -> None:
        """Refuse requests for this reason from now on."""
        self._generation = None
        self._is_waiting = False
        self._failure = failure
        self._metrics.ready(is_ready=False)

    def stop(self) -> None:
        """Refuse requests because the service is shutting down."""
        self._generation = None
        self._metrics.ready(is_ready=False)

    @contextmanager
    def lease(self) -> Iterator[Services]:
        """Give the services to one request, which keeps them to its end.

        Raises:
            IsoglotError: The start failed for a reason that the core names.
            ApiError: The service is starting, stopping, or failed for another reason (503).
        """
        if self._generation is not None:
            with self._generation.lease() as services:
                yield services
            return
        if isinstance(self._failure, IsoglotError):
            # Without its traceback: it would grow with every request that raises it again.
            raise self._failure.with_traceback(None)
        raise api_error("not_ready", self.reason)

    @property
    def is_ready(self) -> bool:
        """Whether there are services to answer with."""
        return self._generation is not None

    @property
    def obstacle(self) -> str | None:
        """Why requests are not answered at present; ``None`` where they are.

        An encoder that hangs, or is asked more than it can answer, is an obstacle that passes:
        requests are taken all the same, up to their bounds.
        """
        generation = self._generation
        return self.reason if generation is None else generation.services.encoder.obstacle

    def report(self) -> None:
        """State for those who watch whether requests are answered at present."""
        self._metrics.ready(is_ready=self.obstacle is None)

    @property
    def reason(self) -> str:
        """Why the service is not ready, fit to show to a user."""
        if self._is_waiting:
            return f"The service starts as soon as it can. {self._failure}"
        if isinstance(self._failure, IsoglotError):
            return f"The service could not start. {self._failure}"
        if self._failure is not None:
            return "The service could not start; its log has the cause."
        return "The service is starting: try again in a moment."


class ApiState:
    """What the application keeps for its routes.

    Attributes:
        readiness: Whether the service can answer yet.
        metrics: What is counted.
        max_batch: Most passages in one JSON request.
        administration: What an operator can ask; ``None`` until the service is ready.
    """

    def __init__(self, *, metrics: Metrics, max_batch: int) -> None:
        self.readiness = Readiness(metrics)
        self.metrics = metrics
        self.max_batch = max_batch
        self.administration: Administration | None = None


def api_state(request: Request) -> ApiState:
    """Return the state that ``create_app`` put into the application."""
    state = request.app.state.api
    assert isinstance(state, ApiState)
    return state


@contextmanager
def leased(request: Request) -> Iterator[Services]:
    """Give a request what answers it: for the key of a tenant, that tenant's passages alone.

    Raises:
        IsoglotError: As ``Readiness.lease``; ``ApiError`` likewise.
    """
    with api_state(request).readiness.lease() as services:
        tenant = access_of(request).tenant
        yield services if tenant is None else services.for_tenant(tenant)


async def _services(request: Request) -> AsyncIterator[Services]:
    # The framework comes back once the answer is sent, also where it is sent bit by bit.
    with leased(request) as services:
        yield services


async def _metrics(request: Request) -> Metrics:
    return api_state(request).metrics


async def _state(request: Request) -> ApiState:
    return api_state(request)


# Asynchronous, all of them: the framework sends dependencies that are not to a thread each.
ServicesDep = Annotated[Services, Depends(_services)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]
StateDep = Annotated[ApiState, Depends(_state)]
