"""Ports that report how long they take: an encoder and a store around those that do the work."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from app.core.encoder_spec import EncoderSpec
from app.core.ports import PassageStore, ServedEncoder
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
    VectorArray,
    WordsQuery,
)
from app.telemetry.labels import Lane
from app.telemetry.serving import EncoderMetrics, StoreMetrics

T = TypeVar("T")


class ObservedEncoder:
    """A ``ServedEncoder`` whose passes are timed."""

    def __init__(self, encoder: ServedEncoder, metrics: EncoderMetrics) -> None:
        self._encoder = encoder
        self._metrics = metrics

    @property
    def spec(self) -> EncoderSpec:
        """The contract of the encoder."""
        return self._encoder.spec

    @property
    def engine(self) -> str:
        """What computes."""
        return self._encoder.engine

    def encode_queries(self, texts: Sequence[str]) -> VectorArray:
        """Embed queries; as ``Encoder``."""
        return self._timed("query", self._encoder.encode_queries, texts)

    def encode_passages(self, texts: Sequence[str]) -> VectorArray:
        """Embed passages; as ``Encoder``."""
        return self._timed("passage", self._encoder.encode_passages, texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens the encoder reads of each text."""
        return self._encoder.count_tokens(texts)

    def close(self) -> None:
        """Close the encoder."""
        self._encoder.close()

    def _timed(
        self, lane: Lane, encode: Callable[[Sequence[str]], VectorArray], texts: Sequence[str]
    ) -> VectorArray:
        began = time.perf_counter()
        vectors = encode(texts)
        self._metrics.encoded(lane, texts=len(texts), seconds=time.perf_counter() - began)
        return vectors


class ObservedStore:
    """A ``PassageStore`` whose calls are timed; it does what the one it is given does."""

    def __init__(self, store: PassageStore, metrics: StoreMetrics) -> None:
        self._store = store
        self._metrics = metrics

    @property
    def fields(self) -> Mapping[str, FieldKind]:
        """Members of the metadata that filters may read."""
        return self._store.fields

    @property
    def words(self) -> bool:
        """Whether the words of the collection are indexed."""
        return self._store.words

    async def open(self, spec: CollectionSpec) -> None:
        """Load the collection, or create it."""
        await self._store.open(spec)

    async def close(self) -> None:
        """Let go of the collection."""
        await self._store.close()

    async def upsert(self, passages: Sequence[EmbeddedPassage], *, durable: bool) -> None:
        """Insert or replace passages."""
        await self._timed("upsert", self._store.upsert(passages, durable=durable))

    async def delete(self, ids: Collection[str]) -> int:
        """Delete passages."""
        return await self._timed("other", self._store.delete(ids))

    async def delete_where(self, where: PassageFilter, *, expected: int | None = None) -> int:
        """Delete the eligible passages."""
        return await self._timed("other", self._store.delete_where(where, expected=expected))

    async def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages that exist."""
        return await self._timed("other", self._store.get(ids))

    async def content_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Return content hashes."""
        return await self._timed("other", self._store.content_hashes(ids))

    async def scan(
        self, *, limit: int, where: PassageFilter = ANY_PASSAGE, after: str | None = None
    ) -> list[Passage]:
        """Return the next eligible passages."""
        return await self._timed("other", self._store.scan(limit=limit, where=where, after=after))

    async def search(self, queries: Sequence[NearestQuery]) -> list[list[ScoredPassage]]:
        """Answer every query."""
        return await self._timed("search", self._store.search(queries))

    async def search_words(self, queries: Sequence[WordsQuery]) -> list[FoundByWords]:
        """Answer every query by words."""
        return await self._timed("search", self._store.search_words(queries))

    async def count(self, where: PassageFilter = ANY_PASSAGE) -> int:
        """Return the number of eligible passages."""
        return await self._timed("other", self._store.count(where))

    async def languages(self, where: PassageFilter = ANY_PASSAGE) -> Mapping[str, int]:
        """Return the number of eligible passages per language."""
        return await self._timed("other", self._store.languages(where))

    async def facets(
        self, field: str, *, limit: int, where: PassageFilter = ANY_PASSAGE
    ) -> Mapping[str | int | bool, int]:
        """Return the number of eligible passages for each value of a field."""
        return await self._timed("other", self._store.facets(field, limit=limit, where=where))

    async def build(self) -> BuildReport:
        """Build the approximate index."""
        return await self._store.build()

    async def health(self) -> StoreHealth:
        """Say how much the store holds, and record it."""
        health = await self._store.health()
        self._metrics.holds(passages=health.passages, indexed=health.indexed_passages)
        return health

    async def _timed(self, operation: str, call: Awaitable[T]) -> T:
        began = time.perf_counter()
        failed = True
        try:
            result = await call
            failed = False
            return result
        finally:
            self._metrics.called(operation, seconds=time.perf_counter() - began, failed=failed)
