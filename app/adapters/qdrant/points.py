"""The points of one collection on a Qdrant server: what is asked of them, request by request.

Callers validate before they write.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from qdrant_client import AsyncQdrantClient, models

from app.adapters.passage_payload import (
    FIELDS_KEY,
    HASH_KEY,
    VECTOR_NAME,
    field_key,
    field_payload,
    from_point,
    point_id,
    to_payload,
)
from app.adapters.qdrant.collection import MAX_POINTS
from app.adapters.qdrant.connection import QdrantConnection
from app.adapters.qdrant.filter import server_filter
from app.adapters.qdrant.nearest import QdrantNearest
from app.adapters.qdrant.records import chunks, of_isoglot, point_passage
from app.adapters.qdrant.words import QdrantWords, words_vector
from app.core.passages.fields import kind_of
from app.core.types import (
    ANY_PASSAGE,
    EmbeddedPassage,
    FieldKind,
    FoundByWords,
    NearestQuery,
    Passage,
    PassageFilter,
    ScoredPassage,
    WordsQuery,
)

CHUNK = 256
"""Points of one request that writes or reads payloads."""

CENSUS_SECONDS = 1.0
"""How long the number of passages per language may be out of date; own writes show at once."""


class QdrantPoints:
    """The points of a collection that exists, with its indexes.

    Args:
        connection: To the server.
        collection: Name of the collection on the server.
        fields: Declared fields, whose values the payload of every point holds.
        words: Whether every point holds its words.
        clock: Seconds that do not go back.
    """

    def __init__(
        self,
        connection: QdrantConnection,
        collection: str,
        fields: Mapping[str, FieldKind],
        *,
        words: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call = connection.call
        self._collection = collection
        self._fields = fields
        self._nearest = QdrantNearest(connection, collection)
        self._words = QdrantWords(connection, collection)
        self.words = words
        self._clock = clock
        self._census: tuple[float, Mapping[str, int]] | None = None

    async def upsert(self, passages: Sequence[EmbeddedPassage]) -> None:
        """Insert or replace passages, ``CHUNK`` a request."""
        for chunk in chunks(passages, CHUNK):
            points = [
                models.PointStruct(
                    id=str(point_id(embedded.passage.id)),
                    vector={
                        VECTOR_NAME: embedded.vector.tolist(),
                        **(words_vector(embedded.passage.text) if self.words else {}),
                    },
                    payload=to_payload(embedded, self._fields),
                )
                for embedded in chunk
            ]
            await self._upsert_points(points)

    async def rewrite_fields(self, fields: Mapping[str, FieldKind]) -> None:
        """Write the values of other declared fields into the payload of every point."""
        after = None
        while page := await self.scan(ANY_PASSAGE, CHUNK, after):
            after = page[-1].id
            await self._set_fields(page, fields)
        self._fields = fields

    async def write_words(self) -> None:
        """Write the words of every point."""
        after = None
        while page := await self.scan(ANY_PASSAGE, CHUNK, after):
            after = page[-1].id
            await self._words.write(page)
        self.words = True

    async def delete(self, ids: Collection[str]) -> int:
        """Delete passages; returns how many of them existed."""
        deleted = 0
        for chunk in chunks(sorted(ids), CHUNK):
            found = [record.id for record in await self._retrieve(chunk, payload=False)]
            if found:
                await self._delete_points(models.PointIdsList(points=found))
            deleted += len(found)
        return deleted

    async def delete_where(self, where: PassageFilter) -> None:
        """Delete the eligible passages."""
        condition = server_filter(where) or models.Filter()
        await self._delete_points(models.FilterSelector(filter=condition))

    async def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages that exist, in the order of ``ids``."""
        found: dict[str, Passage] = {}
        for chunk in chunks(ids, CHUNK):
            for record in await self._retrieve(chunk, payload=True):
                passage = point_passage(record)
                found[passage.id] = passage
        return [found[passage_id] for passage_id in ids if passage_id in found]

    async def embedded(self, ids: Sequence[str]) -> list[EmbeddedPassage]:
        """Return the passages that exist, with their vectors, in the order of ``ids``."""
        found: dict[str, EmbeddedPassage] = {}
        for chunk in chunks(ids, CHUNK):
            for record in await self._retrieve(chunk, payload=True, vector=True):
                with of_isoglot(record):
                    embedded = from_point(record.payload, record.vector)
                found[embedded.passage.id] = embedded
        return [found[passage_id] for passage_id in ids if passage_id in found]

    async def content_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the content hash of every passage that exists; empty where it has none."""
        hashes: dict[str, str] = {}
        for chunk in chunks(ids, CHUNK):
            for record in await self._retrieve(chunk, payload=["id", HASH_KEY]):
                payload = record.payload or {}
                hashes[payload["id"]] = payload.get(HASH_KEY, "")
        return hashes

    async def scan(self, where: PassageFilter, limit: int, after: str | None) -> list[Passage]:
        """Return the next eligible passages in the order of their point ids."""
        found: list[Passage] = []
        start = None if after is None else str(point_id(after))
        while (wanted := min(limit - len(found), CHUNK)) > 0:
            records = await self._scroll(where, wanted + 1, start)
            fresh = [record for record in records if str(record.id) != start][:wanted]
            found += map(point_passage, fresh)
            if len(fresh) < wanted:
                break
            start = str(fresh[-1].id)
        return found

    async def search(self, queries: Sequence[NearestQuery]) -> list[list[ScoredPassage]]:
        """Answer every query; best score first, then by id."""
        return await self._nearest.search(queries)

    async def search_words(self, queries: Sequence[WordsQuery]) -> list[FoundByWords]:
        """Answer every query by words; best lexical score first, then by id."""
        return await self._words.search(queries)

    async def count(self, where: PassageFilter) -> int:
        """Return the exact number of eligible passages."""
        condition = server_filter(where)
        answer = await self._call(
            "count passages",
            lambda c: c.count(self._collection, count_filter=condition, exact=True),
        )
        return int(answer.count)

    async def languages(self, where: PassageFilter) -> dict[str, int]:
        """Return the exact number of eligible passages per language, most frequent first.

        Without a condition the answer may be ``CENSUS_SECONDS`` old as to what other replicas
        have written: every search asks for it.
        """
        if where.condition is not None:
            return await self._count_languages(where)
        now = self._clock()
        if self._census is None or now - self._census[0] > CENSUS_SECONDS:
            self._census = (now, await self._count_languages(ANY_PASSAGE))
        _, census = self._census
        wanted = where.languages
        return {code: n for code, n in census.items() if wanted is None or code in wanted}

    async def facets(
        self, field: str, where: PassageFilter, limit: int
    ) -> dict[str | int | bool, int]:
        """Return the exact number of eligible passages per value, most frequent first."""
        condition = server_filter(where)
        answer = await self._call(
            "count values",
            lambda c: c.facet(
                self._collection,
                key=field_key(field),
                facet_filter=condition,
                limit=min(limit, MAX_POINTS),
                exact=True,
            ),
        )
        counts = sorted((-hit.count, hit.value) for hit in answer.hits if hit.count > 0)
        is_bool = kind_of(field, self._fields, pointer="/field") == "bool"
        return {(value == "true" if is_bool else value): -count for count, value in counts}

    async def _upsert_points(self, points: list[models.PointStruct]) -> None:
        await self._write("store passages", lambda c: c.upsert(self._collection, points))

    async def _delete_points(self, which: models.PointIdsList | models.FilterSelector) -> None:
        await self._write("delete passages", lambda c: c.delete(self._collection, which))

    async def _set_fields(
        self, passages: Sequence[Passage], fields: Mapping[str, FieldKind]
    ) -> None:
        changes: list[models.UpdateOperation] = [
            models.SetPayloadOperation(
                set_payload=models.SetPayload(
                    payload={FIELDS_KEY: field_payload(passage, fields)},
                    points=[str(point_id(passage.id))],
                )
            )
            for passage in passages
        ]
        await self._write(
            "declare fields", lambda c: c.batch_update_points(self._collection, changes)
        )

    async def _write(
        self, action: str, attempt: Callable[[AsyncQdrantClient], Awaitable[object]]
    ) -> None:
        # The client waits for every write to be applied by default, which reads rely on.
        self._census = None
        try:
            await self._call(action, attempt)
        finally:
            self._census = None

    async def _count_languages(self, where: PassageFilter) -> dict[str, int]:
        counts = await self.facets("language", where, MAX_POINTS)
        return {str(code): n for code, n in counts.items()}

    async def _retrieve(
        self, ids: Collection[str], *, payload: bool | list[str], vector: bool = False
    ) -> list[models.Record]:
        keys: list[Any] = [str(point_id(passage_id)) for passage_id in ids]
        return await self._call(
            "read passages",
            lambda c: c.retrieve(self._collection, keys, with_payload=payload, with_vectors=vector),
        )

    async def _scroll(
        self, where: PassageFilter, limit: int, start: str | None
    ) -> list[models.Record]:
        condition = server_filter(where)
        # The server begins with ``offset`` itself.
        records, _ = await self._call(
            "list passages",
            lambda c: c.scroll(
                self._collection,
                scroll_filter=condition,
                limit=limit,
                offset=start,
                with_payload=True,
            ),
        )
        return records
