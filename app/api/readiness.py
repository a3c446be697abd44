"""Whether the service can answer yet, and with what."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import Depends, Request

from app.api.access import access_of
from app.api.errors import api_error
from app.core.bundle import Bundle
from app.core.errors import IsoglotError
from app.core.feedback.service import FeedbackService
from app.core.passages.ingest import IngestService
from app.core.ports import PassageStore
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


class Readiness:
    """Starts out as not ready, then holds either the services or the reason there are none.

    Args:
        metrics: Where it is stated, for those who watch.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._services: Services | None = None
        self._failure: Exception | None = None

    def succeed(self, services: Services) -> None:
        """Answer requests with these services from now on."""
        self._services = services
        self._metrics.ready(is_ready=True)

    def fail(self, failure: Exception) -> None:
        """Refuse requests for this reason from now on."""
        self._services = None
        self._failure = failure
        self._metrics.ready(is_ready=False)

    def stop(self) -> None:
        """Refuse requests because the service is shutting down."""
        self._services = None
        self._metrics.ready(is_ready=False)

    def services(self) -> Services:
        """Return the services.

        Raises:
            IsoglotError: The start failed for a reason that the core names.
            ApiError: The service is starting, stopping, or failed for another reason (503).
        """
        if self._services is not None:
            return self._services
        if isinstance(self._failure, IsoglotError):
            # Without its traceback: it would grow with every request that raises it again.
            raise self._failure.with_traceback(None)
        raise api_error("not_ready", self.reason)

    @property
    def is_ready(self) -> bool:
        """Whether there are services to answer with."""
        return self._services is not None

    @property
    def reason(self) -> str:
        """Why the service is not ready, fit to show to a user."""
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
    """

    def __init__(self, *, metrics: Metrics, max_batch: int) -> None:
        self.readiness = Readiness(metrics)
        self.metrics = metrics
        self.max_batch = max_batch


def api_state(request: Request) -> ApiState:
    """Return the state that ``create_app`` put into the application."""
    state = request.app.state.api
    assert isinstance(state, ApiState)
    return state


async def _services(request: Request) -> Services:
    """Return what answers this request: for the key of a tenant, that tenant's passages alone."""
    services = api_state(request).readiness.services()
    tenant = access_of(request).tenant
    return services if tenant is None else services.for_tenant(tenant)


async def _metrics(request: Request) -> Metrics:
    return api_state(request).metrics


async def _state(request: Request) -> ApiState:
    return api_state(request)


# Asynchronous, all of them: the framework sends dependencies that are not to a thread each.
ServicesDep = Annotated[Services, Depends(_services)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]
StateDep = Annotated[ApiState, Depends(_state)]
