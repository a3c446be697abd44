"""A connection to a Qdrant server: the client, and the policy of every call that goes over it."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
from qdrant_client import AsyncQdrantClient

from app.adapters.qdrant.errors import classify
from app.adapters.qdrant.options import QdrantOptions
from app.adapters.resilience import Caller, CallPolicy

T = TypeVar("T")

_MAX_CONNECTIONS = 64
_KEEPALIVE_SECONDS = 30.0


class QdrantConnection:
    """The client of one server; all collections of a process share it.

    Args:
        options: Where the server is.
        client: A client of its own making; by default one for ``options``.
        policy: How long and how often to try; by default that of ``options.timeout``.
        clock: Seconds that do not go back.
    """

    def __init__(
        self,
        options: QdrantOptions,
        *,
        client: AsyncQdrantClient | None = None,
        policy: CallPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options
        self.client = client or connect(options)
        self._caller = Caller(policy or CallPolicy(deadline=options.timeout), classify, clock=clock)

    async def call(
        self,
        action: str,
        attempt: Callable[[AsyncQdrantClient], Awaitable[T]],
        *,
        deadline: float | None = None,
    ) -> T:
        """Make a call that may be repeated; as ``Caller.call``."""
        return await self._caller.call(action, lambda: attempt(self.client), deadline=deadline)

    async def close(self) -> None:
        """Close all connections to the server."""
        await self.client.close()


def connect(
    options: QdrantOptions, *, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncQdrantClient:
    """Return a client; nothing is sent yet.

    Args:
        options: Where the server is.
        transport: Stands in for the network in tests.
    """
    extra: dict[str, Any] = {} if transport is None else {"transport": transport}
    with warnings.catch_warnings():
        # A key over plain HTTP: the settings have warned of it in words of their own.
        warnings.simplefilter("ignore", UserWarning)
        return AsyncQdrantClient(
            url=options.url,
            api_key=options.api_key,
            prefer_grpc=options.grpc,
            grpc_port=options.grpc_port,
            timeout=math.ceil(options.timeout),
            # It would start a thread that talks to the server on its own.
            check_compatibility=False,
            # The client keeps no connection to localhost alive by default.
            limits=httpx.Limits(
                max_connections=_MAX_CONNECTIONS, keepalive_expiry=_KEEPALIVE_SECONDS
            ),
            **extra,
        )
