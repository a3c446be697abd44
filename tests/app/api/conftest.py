import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.bootstrap import assemble
from app.core.feedback.service import FeedbackService
from app.core.feedback.tokens import FeedbackTokens
from app.main import create_app
from app.settings import Settings
from tests.bundles import write_tiny_bundle
from tests.fakes import (
    FAKE_ENCODER_SPEC,
    FakeEncoder,
    FakeLanguageIdentifier,
    InMemoryFeedbackLog,
    InMemoryStore,
)

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

FEEDBACK_TOKENS = FeedbackTokens(b"k" * 32, collection="passages", lifetime=3600)

PASSAGES: list[dict[str, Any]] = [
    {
        "id": "puncture.de",
        "text": "der Schlauch ist nicht dicht: wie man das Loch findet",
        "language": "de",
        "parallel_id": "puncture",
        "metadata": {"source": "handbook", "page": 3},
    },
    {
        "id": "puncture.en",
        "text": "how to find the hole in an inner tube",
        "language": "en",
        "parallel_id": "puncture",
    },
    {"id": "bread.en", "text": "sourdough bread needs a starter of flour and water"},
]


@pytest.fixture(scope="session")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated bundle for the fake encoder."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "fake", spec=FAKE_ENCODER_SPEC)


@pytest.fixture(scope="session")
def hybrid_bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for the fake encoder with a calibrator of hybrid retrieval as well."""
    directory = tmp_path_factory.mktemp("bundle") / "hybrid"
    return write_tiny_bundle(directory, spec=FAKE_ENCODER_SPEC, hybrid=True)


@pytest.fixture(scope="session")
def uncalibrated_bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundle") / "uncalibrated"
    return write_tiny_bundle(directory, spec=FAKE_ENCODER_SPEC, calibrated=False)


@pytest.fixture
def store() -> InMemoryStore:
    return InMemoryStore()


@pytest.fixture
def make_app(bundle_dir: Path, store: InMemoryStore) -> Callable[..., FastAPI]:
    """Builds the application on fakes; keyword arguments are settings."""

    @asynccontextmanager
    async def runtime(settings, bundle, metrics):
        encoder, languages = FakeEncoder(), FakeLanguageIdentifier()
        desk = FeedbackService(FEEDBACK_TOKENS, InMemoryFeedbackLog())
        async with assemble(settings, bundle, encoder, store, languages, metrics, desk) as opened:
            yield opened

    def make(runtime_factory=runtime, **settings: object) -> FastAPI:
        given = Settings.model_validate({"bundle": bundle_dir, **settings})
        return create_app(given, runtime_factory=runtime_factory)

    return make


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Run the lifespan of an application and talk to it without a network."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://isoglot") as client,
    ):
        yield client


async def until_started(app: FastAPI) -> None:
    """Wait until the runtime is open, or has failed to open."""
    readiness = app.state.api.readiness
    async with asyncio.timeout(60):
        while not readiness.is_ready and "starting" in readiness.reason:  # noqa: ASYNC110  only tests wait for it
            await asyncio.sleep(0.005)


@pytest.fixture
def serve(make_app: Callable[..., FastAPI]) -> Serve:
    """Serves passages from memory; keyword arguments are those of ``make_app``."""

    @asynccontextmanager
    async def start(**options: object) -> AsyncIterator[httpx.AsyncClient]:
        app = make_app(**options)
        async with serving(app) as client:
            await until_started(app)
            yield client

    return start


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    """An empty service."""
    async with serve() as started:
        yield started


@pytest.fixture
async def stocked(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A service that holds ``PASSAGES``."""
    response = await client.post("/v1/passages", json=PASSAGES)
    assert response.status_code == 200
    return client


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Where a service with keys keeps them."""
    return tmp_path / "keys.json"
