"""The collections of a deployment on a Qdrant server, one of which its alias points to."""

from __future__ import annotations

from app.adapters.qdrant.collection import (
    collection_name,
    read_record,
    serve_collection,
    served_collection,
)
from app.adapters.qdrant.connection import QdrantConnection
from app.adapters.qdrant.options import QdrantOptions
from app.adapters.qdrant.store import QdrantPassageStore
from app.core.ports import KeptStore
from app.core.types import IndexedWith, Served


class QdrantShelf:
    """A ``Shelf`` on a Qdrant server.

    Args:
        connection: To the server; closed with the shelf.
        name: Name of the alias, and the first part of the names of all collections.
    """

    def __init__(self, connection: QdrantConnection, name: str) -> None:
        self._connection = connection
        self._name = name

    async def served(self) -> Served | None:
        """Return the collection that the alias points to; ``None`` where there is no alias."""
        return await served_collection(self._connection, self._name)

    async def indexed_with(self, collection: str) -> IndexedWith | None:
        """Return what a collection was indexed with; ``None`` where there is none yet."""
        record = await read_record(self._connection, collection)
        return None if record is None else IndexedWith(record.encoder_id, record.dim)

    async def collection_for(self, encoder_id: str) -> str:
        """Return the collection of an encoder."""
        return collection_name(self._name, encoder_id)

    async def serve(self, served: Served) -> None:
        """Let the alias point to another collection, in one step."""
        await serve_collection(self._connection, self._name, served)

    def store(self, collection: str) -> KeptStore:
        """Return a store over a collection; it is not open."""
        return QdrantPassageStore(self._connection, collection)

    async def close(self) -> None:
        """Close the connection to the server."""
        await self._connection.close()


def open_qdrant_shelf(name: str, options: QdrantOptions) -> QdrantShelf:
    """Return the collections of a server; nothing is sent yet."""
    return QdrantShelf(QdrantConnection(options), name)
