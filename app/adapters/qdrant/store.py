"""The passage store on a Qdrant server: for several replicas of the service, and for clusters.

Every call has a deadline, may be repeated, and goes through one circuit breaker. Acknowledged
means that as many copies have the write as the collection's write consistency asks for; a server
that loses power gives back what its own log has kept, so whoever cannot lose a passage keeps
more than one copy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from qdrant_client import models

from app.adapters.qdrant.collection import (
    declare,
    declare_words,
    ensure_collection,
    take_words,
)
from app.adapters.qdrant.connection import QdrantConnection
from app.adapters.qdrant.points import QdrantPoints
from app.adapters.store_validation import (
    is_usable_id,
    validate_facets,
    validate_passages,
    validate_queries,
    validate_scan,
)
from app.core.errors import (
    CountMismatchError,
    StoreError,
    StoreUnavailableError,
    WordsNotIndexedError,
)
from app.core.types import (
    ANY_PASSAGE,
    BuildReport,
    CollectionSpec,
    EmbeddedPassage,
    FieldKind,
    FoundByWords,
    NearestQuery,
    Passage,
    PassageFilter,
    ScoredPassage,
    StoreHealth,
    WordsQuery,
)

_BUILD_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Session:
    spec: CollectionSpec
    points: QdrantPoints
    engine: str


class QdrantPassageStore:
    """A ``PassageStore`` over one collection of a Qdrant server.

    Args:
        connection: To the server; whoever made it closes it.
        collection: Name of the collection on the server, not of its alias: a switch of the alias
            must not put the passages of another encoder under this store.
        clock: Seconds that do not go back.
    """

    def __init__(
        self,
        connection: QdrantConnection,
        collection: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._collection = collection
        self._clock = clock
        self._session: _Session | None = None

    async def open(self, spec: CollectionSpec) -> None:
        """Find the collection, or make it, and index what has been declared.

        Raises:
            EncoderMismatchError: It was indexed with another encoder; nothing was changed.
            StoreUnavailableError: The server cannot be reached.
            StoreError: The collection is not one of ours, or the store is open already.
        """
        if self._session is not None:
            raise StoreError(f"The collection {self._collection!r} is open already.")
        version = await self._connection.call("say its version", lambda client: client.info())
        record = await ensure_collection(self._connection, self._collection, spec)
        points = QdrantPoints(
            self._connection,
            self._collection,
            record.fields,
            words=record.words,
            clock=self._clock,
        )
        if record.fields != spec.fields:
            await points.rewrite_fields(spec.fields)
            await declare(self._connection, self._collection, spec, record)
        if spec.words and not record.words:
            await take_words(self._connection, self._collection)
            await points.write_words()
            await declare_words(self._connection, self._collection, spec)
        self._session = _Session(spec, points, f"qdrant {version.version}")

    @property
    def fields(self) -> Mapping[str, FieldKind]:
        """Members of the metadata that filters may read."""
        return self._opened().spec.fields

    @property
    def words(self) -> bool:
        """Whether the words of the collection are indexed."""
        return self._opened().points.words

    async def close(self) -> None:
        """Let go of the collection; the connection stays."""
        self._session = None

    async def upsert(self, passages: Sequence[EmbeddedPassage], *, durable: bool) -> None:
        """Insert or replace passages by id; see ``PassageStore.upsert``.

        ``durable`` makes no difference here: every acknowledged write is in the server's log, on
        as many copies as write consistency asks for.
        """
        session = self._opened()
        validate_passages(passages, session.spec.dim)
        await session.points.upsert(passages)

    async def delete(self, ids: Collection[str]) -> int:
        """Delete passages; returns how many of them existed."""
        points = self._opened().points
        return await points.delete({passage_id for passage_id in ids if is_usable_id(passage_id)})

    async def delete_where(self, where: PassageFilter, *, expected: int | None = None) -> int:
        """Delete the eligible passages; see ``PassageStore.delete_where``.

        The number is what was counted just before: another replica may write in between.

        Raises:
            CountMismatchError: They are not ``expected``; nothing was deleted.
        """
        points = self._opened().points
        found = await points.count(where)
        if expected is not None and found != expected:
            raise CountMismatchError(expected=expected, found=found)
        if found:
            await points.delete_where(where)
        return found

    async def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages that exist, in the order of ``ids``."""
        points = self._opened().points
        return await points.get([passage_id for passage_id in ids if is_usable_id(passage_id)])

    async def embedded(self, ids: Sequence[str]) -> list[EmbeddedPassage]:
        """Return the passages that exist, with their vectors, in the order of ``ids``."""
        points = self._opened().points
        return await points.embedded([i for i in ids if is_usable_id(i)])

    async def content_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Return the content hash of every passage that exists; empty where it has none."""
        points = self._opened().points
        return await points.content_hashes([i for i in ids if is_usable_id(i)])

    async def scan(
        self, *, limit: int, where: PassageFilter = ANY_PASSAGE, after: str | None = None
    ) -> list[Passage]:
        """Return the next eligible passages; see ``PassageStore.scan``."""
        points = self._opened().points
        validate_scan(limit, after)
        return await points.scan(where, limit, after)

    async def search(self, queries: Sequence[NearestQuery]) -> list[list[ScoredPassage]]:
        """Answer every query; best score first, then by id.

        Raises:
            InvalidInputError: A vector has the wrong size, is not finite or not of norm 1, or a
                limit is below 1.
        """
        session = self._opened()
        validate_queries(queries, session.spec.dim)
        return await session.points.search(queries)

    async def search_words(self, queries: Sequence[WordsQuery]) -> list[FoundByWords]:
        """Answer every query by words; see ``PassageStore.search_words``.

        Raises:
            InvalidInputError: As ``search``.
            WordsNotIndexedError: The words of this collection are not indexed.
        """
        session = self._opened()
        validate_queries(queries, session.spec.dim)
        if not session.points.words:
            raise WordsNotIndexedError
        return await session.points.search_words(queries)

    async def count(self, where: PassageFilter = ANY_PASSAGE) -> int:
        """Return the exact number of eligible passages."""
        return await self._opened().points.count(where)

    async def languages(self, where: PassageFilter = ANY_PASSAGE) -> Mapping[str, int]:
        """Return the number of eligible passages per language; see ``QdrantPoints.languages``."""
        return await self._opened().points.languages(where)

    async def facets(
        self, field: str, *, limit: int, where: PassageFilter = ANY_PASSAGE
    ) -> Mapping[str | int | bool, int]:
        """Return the number of eligible passages per value; see ``PassageStore.facets``."""
        session = self._opened()
        validate_facets(field, limit, session.spec.fields)
        return await session.points.facets(field, where, limit)

    async def build(self) -> BuildReport:
        """Wait until the server, which builds its index on its own, has nothing left to do."""
        self._opened()
        started = self._clock()
        while (await self._info()).status != models.CollectionStatus.GREEN:  # noqa: ASYNC110  remote
            await asyncio.sleep(_BUILD_POLL_SECONDS)
        health = await self.health()
        return BuildReport(
            passages=health.passages,
            indexed_passages=health.indexed_passages,
            seconds=self._clock() - started,
        )

    async def health(self) -> StoreHealth:
        """Say which engine runs and how much it holds.

        Raises:
            StoreUnavailableError: The server cannot be reached.
        """
        session = self._opened()
        passages = await session.points.count(ANY_PASSAGE)
        indexed = (await self._info()).indexed_vectors_count or 0
        if session.points.words:
            # The server counts the vectors of words along, and these are indexed at once.
            indexed = max(0, indexed - passages)
        return StoreHealth(
            engine=session.engine, passages=passages, indexed_passages=min(indexed, passages)
        )

    def _opened(self) -> _Session:
        if self._session is None:
            raise StoreUnavailableError(f"The collection {self._collection!r} is not open.")
        return self._session

    async def _info(self) -> models.CollectionInfo:
        return await self._connection.call(
            "describe the collection", lambda client: client.get_collection(self._collection)
        )
