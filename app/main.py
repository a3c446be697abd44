"""The web application: lifespan, middleware, routes; nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import structlog
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.adapters.calibrator_shelf import CalibratorShelf
from app.adapters.key_file import KeyFile
from app.api.description import install_description
from app.api.errors import install_error_handlers
from app.api.middleware import Bounds, add_middleware
from app.api.readiness import ApiState
from app.api.request_context import UNMATCHED_ROUTE
from app.api.routes.administration import router as administration
from app.api.routes.calibration import router as calibration
from app.api.routes.collection import router as collections
from app.api.routes.compatibility import router as compatibility
from app.api.routes.feedback import router as feedback
from app.api.routes.operations import router as operations
from app.api.routes.page import router as page
from app.api.routes.passage import router as passages
from app.api.routes.search import router as search
from app.api.routes.selection import router as selections
from app.bootstrap import Runtime, open_runtime
from app.core.access.rate_limit import RateLimit
from app.core.bundle import Bundle, load_bundle
from app.core.errors import StoreUnavailableError
from app.environment import load_settings
from app.following import CalibratorFollower
from app.generations import Generations
from app.settings import Settings
from app.telemetry.logs import configure_logging
from app.telemetry.metrics import Metrics
from app.telemetry.traces import TELEMETRY

RuntimeFactory = Callable[[Settings, Bundle, Metrics], AbstractAsyncContextManager[Runtime]]

ROUTERS = (
    search,
    feedback,
    selections,
    passages,
    collections,
    calibration,
    compatibility,
    administration,
    operations,
    page,
)
_STORE_PAUSE = 2.0
"""Seconds before a store that could not be reached is tried again."""

_log = structlog.stdlib.get_logger(__name__)


def create_app(
    settings: Settings | None = None,
    *,
    bundle_loader: Callable[[Path], Bundle] = load_bundle,
    runtime_factory: RuntimeFactory = open_runtime,
    metrics: Metrics | None = None,
) -> FastAPI:
    """Build the application; only keys are loaded before its lifespan begins.

    A bundle that cannot be used ends the start, so that the server exits. The rest of the start
    runs behind ``/health/live``, and ``/health/ready`` says how it goes.

    Args:
        settings: Read from the environment by default.
        bundle_loader: Loads and verifies a bundle.
        runtime_factory: Opens what answers requests.
        metrics: What everything reports to; its own by default.

    Raises:
        InvalidSettingsError: The environment holds settings that cannot be used.
        KeyFileError: The key file cannot be used.
    """
    settings = settings or load_settings()
    configure_logging(settings.log_level, settings.log_format)
    keys = None if settings.key_file is None else KeyFile(settings.key_file)
    metrics = metrics or Metrics()
    state = ApiState(metrics=metrics, max_batch=settings.max_batch)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        bundle = await asyncio.to_thread(bundle_loader, settings.bundle)
        _announce(bundle, metrics)
        _announce_access(keys)
        stopping = asyncio.Event()
        running = asyncio.create_task(
            _run(lambda: runtime_factory(settings, bundle, metrics), state, stopping)
        )
        try:
            yield
        finally:
            stopping.set()
            await running
            metrics.close()

    app = FastAPI(
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=TELEMETRY,
    )
    app.state.api = state
    add_middleware(app, metrics=metrics, bounds=_bounds(settings, keys))
    install_error_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    install_description(app)
    metrics.requests.routes_known(_routes(app))
    return app


def _routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    for context in iter_route_contexts(app.routes):
        for method in sorted(context.methods or ()):
            yield method, getattr(context.original_route, "path_format", UNMATCHED_ROUTE)


async def _run(
    opening: Callable[[], AbstractAsyncContextManager[Runtime]],
    state: ApiState,
    stopping: asyncio.Event,
) -> None:
    """Hold the runtime open until told to stop; a failed start is kept for whoever asks."""
    try:
        while not stopping.is_set():
            try:
                await _hold(opening(), state, stopping)
            except StoreUnavailableError as error:
                # A store on another machine may start later than this service does.
                state.readiness.wait(error)
                _log.warning("store_awaited", reason=str(error))
                with suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), _STORE_PAUSE)
    except Exception as error:  # noqa: BLE001  reported by /health/ready, and logged
        state.readiness.fail(error)
        _log.critical("start_failed", exc_info=error)


async def _hold(
    opening: AbstractAsyncContextManager[Runtime], state: ApiState, stopping: asyncio.Event
) -> None:
    async with opening as runtime:
        shelf = CalibratorShelf.of(runtime.settings.data_dir, runtime.settings.collection)
        follower = CalibratorFollower(shelf)
        generations = Generations(runtime, state.readiness, state.metrics, shelf.chosen)
        state.administration = generations
        if runtime.bundle.directory.resolve() != runtime.settings.bundle.resolve():
            # The passages were embedded anew since the settings were written.
            _log.warning("another_bundle_than_set", served=str(runtime.bundle.directory))
        facts = runtime.encoder.facts
        _log.info(
            "ready",
            collection=runtime.collection,
            bundle=runtime.bundle.manifest.short_id,
            engine=facts.engine,
            query_ms=round(facts.query_seconds * 1e3, 3),
            encodes_on_loop=facts.direct,
        )
        await follower.follow(generations, stopping)
        state.readiness.stop()
        await generations.close()


def _bounds(settings: Settings, keys: KeyFile | None) -> Bounds:
    limit = settings.rate_limit
    return Bounds(
        max_body_bytes=settings.max_body_bytes,
        body_seconds=settings.body_timeout,
        keys=keys,
        rate_limit=None if limit is None else RateLimit.of(limit),
        cors_origins=settings.cors_origins,
        max_searches=settings.max_searches,
        max_wait=settings.max_wait_ms / 1e3,
    )


def _announce_access(keys: KeyFile | None) -> None:
    if keys is None:
        _log.warning("no_key_file", effect="whoever reaches this service may do everything")
    else:
        _log.info("keys_loaded", keys=len(keys.ring()))


def _announce(bundle: Bundle, metrics: Metrics) -> None:
    calibrator = bundle.calibrator.id if bundle.calibrator else ""
    facts = {
        "bundle": bundle.manifest.short_id,
        "encoder": bundle.spec.fingerprint(),
        "calibrator": calibrator,
    }
    metrics.serves(bundle, active=bundle.calibrator)
    _log.info("bundle_verified", **facts)
