"""``isoglot serve``: one process that answers."""

from __future__ import annotations

import asyncio
import errno
import gc
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
import uvloop
from fastapi import FastAPI

from app.bootstrap import Runtime, open_runtime
from app.cli.exits import CannotStartError
from app.cli.http_protocol import BoundedHttpProtocol
from app.core.bundle import Bundle, load_bundle
from app.main import create_app
from app.settings import Settings
from app.telemetry.metrics import Metrics

GRACE_SECONDS = 20
"""How long requests that are under way may take once the service is told to end."""

KEEP_ALIVE_SECONDS = 75
"""How long a connection may idle before it is closed.

Whoever keeps connections should hang up first: a request that is sent while the other side is
closing gets no answer. Clients and proxies give up idle connections after 5 (httpx) to 60 seconds
(nginx, load balancers).
"""

_BACKLOG = 2048
ACCEPTED_A_TURN = 32
"""Connections accepted in one turn of the event loop."""
_LOOK_SECONDS = 0.05


def run_server(settings: Settings, *, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is under way and close the collection.

    Everything is opened before the first request is answered, so that whatever keeps the service
    from starting is an error here rather than a line in a log.

    Args:
        settings: What to serve, and where.
        on_ready: Called with the address once requests are answered.

    Raises:
        CannotStartError: The address cannot be listened on, or must not be without API keys.
        IsoglotError: Bundle, collection or key file cannot be opened.
    """
    refuse_exposure(settings)
    with (
        listen(settings.host, settings.port) as listener,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_serve(settings, listener, on_ready))


def refuse_exposure(settings: Settings) -> None:
    """Do nothing if only those may reach the service that are allowed to.

    Raises:
        CannotStartError: Other machines could, and there are no API keys.
    """
    if settings.key_file is not None or settings.insecure or is_loopback(settings.host):
        return
    raise CannotStartError(
        f"Without API keys everybody who reaches {settings.host} could read, change and delete "
        "all passages. Make a key with `isoglot keys create` and name its file in "
        "ISOGLOT_KEY_FILE, or set ISOGLOT_INSECURE=true if something else controls access."
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address; names but localhost do not count."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Listen on an address.

    Raises:
        CannotStartError: The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotStartError(
                f"Port {port} on {host} is in use. Stop what listens there, or choose another "
                "with --port (0 picks a free one)."
            ) from error
        raise CannotStartError(f"Cannot listen on {host}, port {port}: {error}") from error
    with listener:
        # Connections inherit it. asyncio sets it only where the socket names its protocol, which
        # create_server does not; without it every answer on a kept connection waits 40 ms for the
        # client's delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def handles(listener: socket.socket) -> list[socket.socket]:
    """Return as many handles of a listener as connections are to be accepted in one turn.

    libuv accepts one connection a turn for each of them. Under load a turn takes 20 ms and more,
    and clients that connect at the same time would wait for seconds to be so much as refused.
    """
    return [listener, *(listener.dup() for _ in range(ACCEPTED_A_TURN - 1))]


def address(listener: socket.socket) -> str:
    """Return the URL under which a browser on this machine reaches a listener."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host)  # noqa: S104  shown, not bound
    return f"http://{shown or (f'[{host}]' if ':' in host else host)}:{port}"


class _Server(uvicorn.Server):
    """Ends without sending the signal to itself once more.

    The second signal would end the process before the collection is closed.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        caught = (signal.SIGINT, signal.SIGTERM)
        for number in caught:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)


async def _serve(
    settings: Settings, listener: socket.socket, on_ready: Callable[[str], None]
) -> None:
    metrics = Metrics()
    if settings.qdrant_url is not None:
        # Its store is on another machine, which may start later: waiting for it is not an error.
        bundle = await asyncio.to_thread(load_bundle, settings.bundle)
        app = create_app(settings, bundle_loader=lambda _: bundle, metrics=metrics)
        await _answer(app, listener, on_ready)
        return
    async with open_runtime(settings, metrics=metrics) as runtime:

        @asynccontextmanager
        async def opened(
            _settings: Settings, _bundle: Bundle, _metrics: Metrics
        ) -> AsyncIterator[Runtime]:
            yield runtime

        app = create_app(
            settings,
            bundle_loader=lambda _: runtime.bundle,
            runtime_factory=opened,
            metrics=metrics,
        )
        await _answer(app, listener, on_ready)


async def _answer(app: FastAPI, listener: socket.socket, on_ready: Callable[[str], None]) -> None:
    config = uvicorn.Config(
        app,
        workers=1,
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        http=BoundedHttpProtocol,
    )
    server = _Server(config)
    telling = asyncio.create_task(_tell(app, server, lambda: on_ready(address(listener))))
    try:
        await server.serve(sockets=handles(listener))
    finally:
        telling.cancel()


async def _tell(app: FastAPI, server: uvicorn.Server, on_ready: Callable[[], None]) -> None:
    """Tell once that searches are answered."""
    while not (server.started and app.state.api.readiness.is_ready):  # noqa: ASYNC110  theirs
        await asyncio.sleep(_LOOK_SECONDS)
    settle_heap()
    on_ready()


def settle_heap() -> None:
    """Keep what the start has made out of later garbage collections, for which all requests wait.

    It is there to stay, and collecting would walk through all of it time and again.
    """
    gc.collect()
    gc.freeze()
