"""A store that can tell what has been written since a moment, and hold writers back for another.

While a collection is embedded anew elsewhere, writes go on. They are noted by id, and whoever
copies comes back for them. For the switch itself writers wait; those that come to the old
collection after it, because their request began before, are carried over to the new one before
they are acknowledged. So no acknowledged write is missing there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from app.core.errors import CountMismatchError
from app.core.ports import PassageStore
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

Carry = Callable[[Collection[str]], Awaitable[None]]
"""Makes another collection agree with this one on some ids, deletions included."""

_PAGE = 256


class JournaledStore:
    """Implements ``PassageStore``; without a journal it adds nothing but the counting of writers.

    Args:
        store: Where the passages are.
    """

    def __init__(self, store: PassageStore) -> None:
        self._store = store
        self._touched: set[str] | None = None
        self._carry: Carry | None = None
        self._writers = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = asyncio.Event()
        self._open.set()

    def begin(self) -> None:
        """Note from now on which passages are written to."""
        self._touched = set()

    def end(self) -> None:
        """Note and carry over nothing any more."""
        self._touched = None
        self._carry = None

    def take(self) -> set[str]:
        """Return the ids written to since the last call, and forget them."""
        touched, self._touched = self._touched or set(), set()
        return touched

    def carry_over(self, carry: Carry) -> None:
        """From now on acknowledge a write only once ``carry`` has taken it elsewhere too."""
        self._touched = None
        self._carry = carry

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Hold writers back, once those that are under way are done."""
        self._open.clear()
        try:
            await self._idle.wait()
            yield
        finally:
            self._open.set()

    @property
    def fields(self) -> Mapping[str, FieldKind]:
        """As ``PassageStore``."""
        return self._store.fields

    @property
    def words(self) -> bool:
        """As ``PassageStore``."""
        return self._store.words

    async def open(self, spec: CollectionSpec) -> None:
        """As ``PassageStore``."""
        await self._store.open(spec)

    async def close(self) -> None:
        """As ``PassageStore``."""
        await self._store.close()

    async def upsert(self, passages: Sequence[EmbeddedPassage], *, durable: bool) -> None:
        """As ``PassageStore``; waits while writers are held back."""
        async with self._writing([embedded.passage.id for embedded in passages]):
            await self._store.upsert(passages, durable=durable)

    async def delete(self, ids: Collection[str]) -> int:
        """As ``PassageStore``; waits while writers are held back."""
        async with self._writing(ids):
            return await self._store.delete(ids)

    async def delete_where(self, where: PassageFilter, *, expected: int | None = None) -> int:
        """As ``PassageStore``; waits while writers are held back.

        While there is a journal, what is to be deleted is listed first, and deleted by id.
        """
        if self._touched is None and self._carry is None:
            async with self._writing(()):
                return await self._store.delete_where(where, expected=expected)
        ids = await self._ids(where)
        if expected is not None and len(ids) != expected:
            raise CountMismatchError(expected=expected, found=len(ids))
        return await self.delete(ids)

    async def get(self, ids: Sequence[str]) -> list[Passage]:
        """As ``PassageStore``."""
        return await self._store.get(ids)

    async def content_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """As ``PassageStore``."""
        return await self._store.content_hashes(ids)

    async def scan(
        self, *, limit: int, where: PassageFilter = ANY_PASSAGE, after: str | None = None
    ) -> list[Passage]:
        """As ``PassageStore``."""
        return await self._store.scan(limit=limit, where=where, after=after)

    async def search(self, queries: Sequence[NearestQuery]) -> list[list[ScoredPassage]]:
        """As ``PassageStore``."""
        return await self._store.search(queries)

    async def search_words(self, queries: Sequence[WordsQuery]) -> list[FoundByWords]:
        """As ``PassageStore``."""
        return await self._store.search_words(queries)

    async def count(self, where: PassageFilter = ANY_PASSAGE) -> int:
        """As ``PassageStore``."""
        return await self._store.count(where)

    async def languages(self, where: PassageFilter = ANY_PASSAGE) -> Mapping[str, int]:
        """As ``PassageStore``."""
        return await self._store.languages(where)

    async def facets(
        self, field: str, *, limit: int, where: PassageFilter = ANY_PASSAGE
    ) -> Mapping[str | int | bool, int]:
        """As ``PassageStore``."""
        return await self._store.facets(field, limit=limit, where=where)

    async def build(self) -> BuildReport:
        """As ``PassageStore``."""
        return await self._store.build()

    async def health(self) -> StoreHealth:
        """As ``PassageStore``."""
        return await self._store.health()

    @asynccontextmanager
    async def _writing(self, ids: Collection[str]) -> AsyncIterator[None]:
        # Again after each wait: somebody else may have closed the gate in the meantime.
        while not self._open.is_set():
            await self._open.wait()
        self._writers += 1
        self._idle.clear()
        try:
            yield
        finally:
            # Noted once it is done, and also if it failed: part of it may have been written.
            if self._touched is not None:
                self._touched.update(ids)
            self._writers -= 1
            if not self._writers:
                self._idle.set()
        if self._carry is not None:
            await self._carry(ids)

    async def _ids(self, where: PassageFilter) -> list[str]:
        ids: list[str] = []
        after = None
        while page := await self._store.scan(limit=_PAGE, where=where, after=after):
            after = page[-1].id
            ids += [passage.id for passage in page]
        return ids
