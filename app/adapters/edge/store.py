"""The embedded passage store: Qdrant Edge inside this process, no service to start.

The engine holds the GIL during every call, so a thread would keep the event loop no freer.
Therefore engine calls run on the loop, and no method awaits between taking the shard and using
it: nothing runs beside a swap or a close, and readers need no lock. Long writes and
reads are cut into chunks with a breath between them; writers share one lock, so that they never
run beside each other, beside the copying of the shard, or beside a swap.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from app.adapters.disk_room import require_room
from app.adapters.edge.builds import SettledBuilds
from app.adapters.edge.rebuild import rebuild
from app.adapters.edge.record import RECORD_FILE
from app.adapters.edge.searches import SharedSearches
from app.adapters.edge.session import CHUNK, EdgeSession, chunked
from app.adapters.store_validation import (
    is_usable_id,
    validate_facets,
    validate_passages,
    validate_queries,
    validate_scan,
)
from app.core.errors import CountMismatchError, StoreError, StoreUnavailableError
from app.core.pauses import pause
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

INDEX_THRESHOLD = 20_000
"""Passages that are searched exactly, in about two milliseconds; beyond, an index pays."""

SYNC_EVERY = 2_000
FLUSH_EVERY = 20_000


class EdgePassageStore:
    """A ``PassageStore`` over a directory that one process has open at a time.

    An acknowledged write survives the death of the process; it survives loss of power once the log
    is synced: at once with ``durable=True``, otherwise after ``sync_every`` writes or on close.

    Args:
        directory: Where the collection lives; created by ``open``.
        index_threshold: Up to this many passages are searched exactly, without an index.
        sync_every: Writes after which the log is synced, from a thread.
        flush_every: Writes after which the engine is flushed, which keeps its log from growing:
            some 5 kB each, and what is replayed after a crash. Everything waits for it.
        settle_seconds: The index is built by itself once nothing has been written for this long;
            ``None`` leaves building to who calls ``build``.
        reserve: Bytes that stay free on the disk: what would take them is refused.
    """

    def __init__(  # noqa: PLR0913  each is one setting
        self,
        directory: Path,
        *,
        index_threshold: int = INDEX_THRESHOLD,
        sync_every: int = SYNC_EVERY,
        flush_every: int = FLUSH_EVERY,
        settle_seconds: float | None = None,
        reserve: int = 0,
    ) -> None:
        self._root = directory
        self._reserve = reserve
        self._index_threshold = index_threshold
        self._sync_every = sync_every
        self._flush_every = flush_every
        self._session: EdgeSession | None = None
        self._indexing = SettledBuilds(self._index, settle_seconds)
        self._searches = SharedSearches(self._search_now)

    async def open(self, spec: CollectionSpec) -> None:
        """Load the collection, or create it, and clear away what a crash has left behind.

        Raises:
            EncoderMismatchError: It was indexed with another encoder; nothing was changed.
            StoreLockedError: Another process has the directory open.
            StorageFullError: There is no room for a new collection.
            StoreError: The store is open already, or the directory is damaged or unusable.
        """
        if self._session is not None:
            raise StoreError(f"The store in {self._root} is open already; close it first.")
        if not (self._root / RECORD_FILE).exists():
            require_room(self._root, reserve=self._reserve)
        session = EdgeSession.begin(self._root, spec)
        try:
            await session.declare_fields()
            await session.declare_words()
        except BaseException:
            await session.end()
            raise
        self._session = session
        self._indexing.begin()

    @property
    def fields(self) -> Mapping[str, FieldKind]:
        """Members of the metadata that filters may read."""
        return self._opened().spec.fields

    @property
    def words(self) -> bool:
        """Whether the words of the collection are indexed."""
        return self._opened().shard.words

    async def close(self) -> None:
        """Stop a build that is running, flush, and let go of the directory."""
        session = self._session
        if session is None:
            return
        try:
            await self._indexing.end()
            await session.end()
        finally:
            if session.ended and self._session is session:
                self._session = None

    async def upsert(self, passages: Sequence[EmbeddedPassage], *, durable: bool) -> None:
        """Insert or replace passages by id; see ``PassageStore.upsert``.

        A call of more than ``CHUNK`` passages becomes visible chunk by chunk.

        Raises:
            StorageFullError: The disk has no room; chunks before that are stored.
        """
        session = self._opened()
        validate_passages(passages, session.spec.dim)
        async with session.writing():
            start = 0
            while chunk := passages[start : start + session.chunk]:
                require_room(self._root, reserve=self._reserve)
                session.write(chunk)
                start += len(chunk)
                await self._breathe(session)
            if durable:
                await session.sync()
        self._indexing.written()

    async def delete(self, ids: Collection[str]) -> int:
        """Delete passages; returns how many of them existed."""
        session = self._opened()
        usable = sorted({passage_id for passage_id in ids if is_usable_id(passage_id)})
        deleted = 0
        async with session.writing():
            for chunk in chunked(usable):
                session.will_write(chunk)
                deleted += session.shard.delete(chunk)
                await self._breathe(session)
        return deleted

    async def delete_where(self, where: PassageFilter, *, expected: int | None = None) -> int:
        """Delete the eligible passages; see ``PassageStore.delete_where``. It survives power loss.

        Raises:
            CountMismatchError: They are not ``expected``; nothing was deleted.
        """
        session = self._opened()
        deleted = 0
        async with session.writing():
            found = session.shard.count(where)
            if expected is not None and found != expected:
                raise CountMismatchError(expected=expected, found=found)
            while page := session.shard.scan(where, CHUNK, None):
                ids = [passage.id for passage in page]
                session.will_write(ids)
                deleted += session.shard.delete(ids)
                await self._breathe(session)
            if deleted:
                await session.sync()
        return deleted

    async def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages that exist, in the order of ``ids``."""
        shard = self._opened().shard
        return shard.get([passage_id for passage_id in ids if is_usable_id(passage_id)])

    async def embedded(self, ids: Sequence[str]) -> list[EmbeddedPassage]:
        """Return the passages that exist, with their vectors, in the order of ``ids``."""
        shard = self._opened().shard
        return shard.embedded([passage_id for passage_id in ids if is_usable_id(passage_id)])

    async def content_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Return the content hash of every passage that exists; empty where it has none."""
        self._opened()  # even where nothing is asked for
        hashes: dict[str, str] = {}
        for chunk in chunked([passage_id for passage_id in ids if is_usable_id(passage_id)]):
            hashes |= self._opened().shard.content_hashes(chunk)
            await pause()
        return hashes

    async def scan(
        self, *, limit: int, where: PassageFilter = ANY_PASSAGE, after: str | None = None
    ) -> list[Passage]:
        """Return the next eligible passages; see ``PassageStore.scan``."""
        shard = self._opened().shard
        validate_scan(limit, after)
        return shard.scan(where, limit, after)

    async def search(self, queries: Sequence[NearestQuery]) -> list[list[ScoredPassage]]:
        """Answer every query; best score first, then by id.

        Raises:
            InvalidInputError: A vector has the wrong size, is not finite or not of norm 1, or a
                limit is below 1.
        """
        validate_queries(queries, self._opened().spec.dim)
        return await self._searches.search(queries)

    async def search_words(self, queries: Sequence[WordsQuery]) -> list[FoundByWords]:
        """Answer every query by words; see ``PassageStore.search_words``.

        Raises:
            InvalidInputError: As ``search``.
            WordsNotIndexedError: The words of this collection are not indexed.
        """
        shard = self._opened().shard
        validate_queries(queries, self._opened().spec.dim)
        return [shard.search_words(query) for query in queries]

    async def count(self, where: PassageFilter = ANY_PASSAGE) -> int:
        """Return the number of eligible passages."""
        return self._opened().shard.count(where)

    async def languages(self, where: PassageFilter = ANY_PASSAGE) -> Mapping[str, int]:
        """Return the number of eligible passages per language, most frequent first."""
        return self._opened().shard.languages(where)

    async def facets(
        self, field: str, *, limit: int, where: PassageFilter = ANY_PASSAGE
    ) -> Mapping[str | int | bool, int]:
        """Return the number of eligible passages per value; see ``PassageStore.facets``."""
        session = self._opened()
        validate_facets(field, limit, session.spec.fields)
        return session.shard.facets(field, where, limit)

    async def health(self) -> StoreHealth:
        """Say which engine runs and how much it holds."""
        shard = self._opened().shard
        return StoreHealth(
            engine=f"qdrant-edge {version('qdrant-edge-py')}",
            passages=shard.passages,
            indexed_passages=shard.indexed_passages,
        )

    async def build(self) -> BuildReport:
        """Build the approximate index, if there are more than ``index_threshold`` passages.

        A copy of the shard is built in a child process and swapped in. Searches are answered all
        along; writes wait while the shard is copied and while the writes made since are carried
        over, and go on during the build itself. Whatever fails, the live shard is untouched.

        Raises:
            StoreUnavailableError: A build is running already, or the store was closed meanwhile.
            StoreError: The build failed.
        """
        started = time.perf_counter()
        session = self._opened()
        if session.shard.passages > self._index_threshold:
            await rebuild(session, reserve=self._reserve)
            session = self._opened()
        return BuildReport(
            passages=session.shard.passages,
            indexed_passages=session.shard.indexed_passages,
            seconds=time.perf_counter() - started,
        )

    def _search_now(self, queries: Sequence[NearestQuery]) -> list[list[ScoredPassage]]:
        return self._opened().shard.search(queries)

    async def _index(self) -> bool:
        """Build the index if enough passages lack it; returns whether it was built."""
        shard = self._opened().shard
        if shard.passages - shard.indexed_passages <= self._index_threshold:
            return False
        await self.build()
        return True

    def _opened(self) -> EdgeSession:
        if self._session is None or self._session.closing:
            raise StoreUnavailableError(f"The store in {self._root} is not open.")
        return self._session

    async def _breathe(self, session: EdgeSession) -> None:
        await session.breathe(sync_every=self._sync_every, flush_every=self._flush_every)
