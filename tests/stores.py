"""Every passage store, by the name under which the contract suites run it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from qdrant_client import AsyncQdrantClient

from app.adapters.edge.store import EdgePassageStore
from app.adapters.qdrant.collection import collection_name
from app.adapters.qdrant.connection import QdrantConnection, connect
from app.adapters.qdrant.options import QdrantOptions
from app.adapters.qdrant.store import QdrantPassageStore
from app.core.ports import KeptStore
from tests.fake_qdrant import fake_qdrant
from tests.fakes import InMemoryStore

SERVER_URL = os.environ.get("ISOGLOT_TEST_QDRANT_URL", "")
"""A Qdrant server that tests may fill and empty."""

NO_SERVER = "needs a Qdrant server; name one in ISOGLOT_TEST_QDRANT_URL"


def local_connection() -> QdrantConnection:
    """Return a connection to the client's own engine in memory: no server, no network."""
    return QdrantConnection(QdrantOptions(url=""), client=AsyncQdrantClient(":memory:"))


def _local_store(_directory: Path) -> KeptStore:
    return QdrantPassageStore(local_connection(), "passages@local")


def fake_connection(*, api_key: str | None = None) -> QdrantConnection:
    """Return a connection that speaks REST to a stand-in for a server, without a network."""
    options = QdrantOptions(url="http://qdrant:6333", api_key=api_key)
    transport = httpx.ASGITransport(app=fake_qdrant(api_key=api_key))
    return QdrantConnection(options, client=connect(options, transport=transport))


def _fake_store(_directory: Path) -> KeptStore:
    return QdrantPassageStore(fake_connection(), "passages@fake")


def _server_store(_directory: Path, *, grpc: bool = False) -> KeptStore:
    connection = QdrantConnection(QdrantOptions(url=SERVER_URL, grpc=grpc, timeout=30.0))
    return QdrantPassageStore(connection, collection_name("test", uuid4().hex))


STORES: dict[str, Callable[[Path], KeptStore]] = {
    "memory": lambda _directory: InMemoryStore(),
    "edge": EdgePassageStore,
    "qdrant-local": _local_store,
    "qdrant-fake": _fake_store,
    "qdrant-rest": _server_store,
    "qdrant-grpc": lambda directory: _server_store(directory, grpc=True),
}

_ON_SERVER = [pytest.mark.qdrant, pytest.mark.skipif(not SERVER_URL, reason=NO_SERVER)]

STORE_PARAMS = [
    pytest.param(name, marks=_ON_SERVER if name in {"qdrant-rest", "qdrant-grpc"} else [])
    for name in STORES
]
