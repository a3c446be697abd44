from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import httpx
import pytest

from tests.app.api.conftest import (  # noqa: F401  fixtures
    bundle_dir,
    make_app,
    serve,
    store,
    uncalibrated_bundle_dir,
)

Result = TypeVar("Result")


class AppInThread(httpx.BaseTransport):
    """Carries synchronous requests to an application whose loop runs in another thread."""

    def __init__(self, app) -> None:
        self._app = app
        self._asgi = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._lifespan = app.router.lifespan_context(app)

    def _run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def __enter__(self):
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *error):
        self._run(self._lifespan.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        await self._lifespan.__aenter__()
        while not self._app.state.api.readiness.is_ready:  # noqa: ASYNC110  only tests wait for it
            await asyncio.sleep(0.005)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def handle() -> httpx.Response:
            body = request.read()
            asked = httpx.Request(
                request.method, request.url, headers=request.headers, content=body
            )
            answer = await self._asgi.handle_async_request(asked)
            content = await answer.aread()
            return httpx.Response(answer.status_code, headers=answer.headers, content=content)

        return self._run(handle())


@pytest.fixture
def running(make_app) -> Callable[..., AppInThread]:  # noqa: F811  a fixture
    """Runs an application in a thread; keyword arguments are those of ``make_app``."""

    def run(**options: object) -> AppInThread:
        return AppInThread(make_app(**options))

    return run
