"""One shard of Qdrant Edge, and what it knows between two calls of the engine.

Everything here is synchronous and short, and holds the GIL as the engine does. Callers validate
before they write: the engine logs a write before it looks at it, so a write that it rejects is
applied all the same when the shard is loaded next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Self
from uuid import UUID

import qdrant_edge as qe

from app.adapters.edge.counting import KeptCounts, count_points, count_values
from app.adapters.edge.engine import (
    engine_errors,
    point_number,
    record_passage,
    vector_config,
    vector_numbers,
)
from app.adapters.edge.filter import create_index, drop_index, engine_filter, indexed_fields
from app.adapters.edge.nearest import search_nearest
from app.adapters.edge.words import create_words, search_words, words_vector, write_words
from app.adapters.passage_cache import PassageCache
from app.adapters.passage_payload import (
    FIELDS_KEY,
    HASH_KEY,
    VECTOR_NAME,
    field_payload,
    from_point,
    point_id,
    to_payload,
)
from app.core.errors import WordsNotIndexedError
from app.core.passages.fields import kind_of
from app.core.types import (
    EmbeddedPassage,
    FieldKind,
    Filter,
    FoundByWords,
    NearestQuery,
    Passage,
    PassageFilter,
    ScoredPassage,
    WordsQuery,
)


class PassageShard:
    """An open shard; made by ``create`` or ``load``.

    Args:
        shard: The engine's shard.
        fields: Declared fields, whose values the payload of every point holds.
        indexed: Where every point holds its words: how many points the approximate index covers,
            which the engine does not say then. ``None`` where points hold no words.
    """

    def __init__(
        self,
        shard: qe.EdgeShard,
        fields: Mapping[str, FieldKind],
        indexed: int | None = None,
    ) -> None:
        self._shard = shard
        self._fields = fields
        self._indexed = indexed
        self._count: int | None = None
        self._languages = KeptCounts()
        # By the number of the point's UUID.
        self._cache: PassageCache[int] = PassageCache()
        self._create_indexes()

    @classmethod
    def create(cls, path: Path, dim: int) -> Self:
        """Create an empty shard for vectors of ``dim`` dimensions, with a write-ahead log."""
        config = qe.EdgeConfig(vectors=vector_config(dim), wal_enabled=True)
        with engine_errors(f"create {path}"):
            return cls(qe.EdgeShard.create(str(path), config), {})

    @classmethod
    def load(
        cls,
        path: Path,
        dim: int,
        fields: Mapping[str, FieldKind],
        indexed: int | None = None,
    ) -> Self:
        """Open an existing shard, replaying its log.

        Args:
            path: Directory of the shard.
            dim: Number of dimensions of its vectors.
            fields: As the class.
            indexed: As the class.

        Raises:
            StoreError: It is damaged, or its vectors do not have ``dim`` dimensions.
        """
        config = qe.EdgeConfig(vectors=vector_config(dim))
        with engine_errors(f"load {path}"):
            return cls(qe.EdgeShard.load(str(path), config), fields, indexed)

    def forget_fields(self, fields: Mapping[str, FieldKind]) -> None:
        """Drop the indexes of declared fields that are not among ``fields`` as they are."""
        for name, kind in self._fields.items():
            if fields.get(name) != kind:
                with engine_errors("drop an index"):
                    self._shard.update(drop_index(name))

    def rewrite_fields(self, passages: Sequence[Passage], fields: Mapping[str, FieldKind]) -> None:
        """Write the values of other fields into the payload of stored passages."""
        for passage in passages:
            payload = {FIELDS_KEY: field_payload(passage, fields)}
            with engine_errors("declare fields"):
                self._shard.update(qe.UpdateOperation.set_payload([point_id(passage.id)], payload))

    def adopt_fields(self, fields: Mapping[str, FieldKind]) -> None:
        """Take fields as declared that every payload holds by now, and index them."""
        self._fields = fields
        self._create_indexes()

    def create_words(self) -> None:
        """Let passages have words. Until ``adopt_words`` they are not searched by them."""
        with engine_errors("index words"):
            self._shard.update(create_words())

    def write_words(self, passages: Sequence[Passage]) -> None:
        """Write the words of stored passages, which takes them out of the approximate index."""
        with engine_errors("index words"):
            self._shard.update(write_words(passages))

    def adopt_words(self) -> None:
        """Take it that every passage has its words by now."""
        self._indexed = 0

    def count_as_indexed(self) -> None:
        """Take it that the approximate index covers every passage, where the engine says not."""
        if self._indexed is not None:
            self._indexed = self.passages

    @property
    def indexed(self) -> int | None:
        """As the class."""
        return self._indexed

    @property
    def words(self) -> bool:
        """Whether every passage holds its words."""
        return self._indexed is not None

    @property
    def passages(self) -> int:
        """Number of passages."""
        if self._count is None:  # since the last write
            with engine_errors("describe itself"):
                self._count = self._shard.info().points_count
        return self._count

    @property
    def indexed_passages(self) -> int:
        """Number of passages that the approximate index covers."""
        if self._indexed is not None:
            return min(self._indexed, self.passages)
        with engine_errors("describe itself"):
            return self._shard.info().indexed_vectors_count

    def upsert(self, passages: Sequence[EmbeddedPassage]) -> None:
        """Insert or replace passages that have been validated."""
        points = [
            qe.Point(
                point_id(embedded.passage.id),
                {
                    VECTOR_NAME: vector_numbers(embedded.vector),
                    **(words_vector(embedded.passage.text) if self.words else {}),
                },
                to_payload(embedded, self._fields),
            )
            for embedded in passages
        ]
        self._upsert_points(points)

    def delete(self, ids: Collection[str]) -> int:
        """Delete passages; returns how many of them existed."""
        existing: list[qe.PointId] = [record.id for record in self._retrieve(ids, payload=False)]
        self._will_write(existing)
        with engine_errors("delete passages"):
            self._shard.update(qe.UpdateOperation.delete_points(existing))
        return len(existing)

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages that exist, in the order of ``ids``."""
        found = {record.id: record_passage(record) for record in self._retrieve(ids, payload=True)}
        return [found[key] for key in map(point_id, ids) if key in found]

    def embedded(self, ids: Sequence[str]) -> list[EmbeddedPassage]:
        """Return the passages that exist, with their vectors, in the order of ``ids``."""
        found = {
            record.id: from_point(record.payload, record.vector)
            for record in self._retrieve(ids, payload=True, vector=True)
        }
        return [found[key] for key in map(point_id, ids) if key in found]

    def content_hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the content hash of every passage that exists; empty where it has none."""
        records = self._retrieve(ids, payload=["id", HASH_KEY])
        payloads = [record.payload or {} for record in records]
        return {payload["id"]: payload.get(HASH_KEY, "") for payload in payloads}

    def scan(self, where: PassageFilter, limit: int, after: str | None) -> list[Passage]:
        """Return the next eligible passages in the order of their point ids."""
        start = None if after is None else point_id(after)
        request = qe.ScrollRequest(
            # The engine begins with ``offset`` itself.
            offset=start,
            limit=limit + 1,
            filter=engine_filter(where),
            with_payload=True,
        )
        with engine_errors("list passages"):
            records, _ = self._shard.scroll(request)
        return [record_passage(record) for record in records if record.id != start][:limit]

    def search(self, queries: Sequence[NearestQuery]) -> list[list[ScoredPassage]]:
        """Answer every query in one batch; best score first, then by id."""
        return search_nearest(
            self._shard, queries, self.passages, lambda keys: self._cache.get(keys, self._read)
        )

    def search_words(self, query: WordsQuery) -> FoundByWords:
        """Answer a query by words; best lexical score first, then by id.

        Raises:
            WordsNotIndexedError: Passages hold no words.
        """
        if not self.words:
            raise WordsNotIndexedError
        with engine_errors("search by words"):
            return search_words(self._shard, query, self._passages_of)

    def count(self, where: PassageFilter) -> int:
        """Return the exact number of eligible passages."""
        if where.condition is None:
            return sum(self.languages(where).values())
        return count_points(self._shard, where)

    def languages(self, where: PassageFilter) -> dict[str, int]:
        """Return the exact number of eligible passages per language, most frequent first."""
        counts = self._languages.get(where.condition, self._count_languages)
        if where.languages is None:
            return dict(counts)
        return {code: n for code, n in counts.items() if code in where.languages}

    def facets(self, field: str, where: PassageFilter, limit: int) -> dict[str | int | bool, int]:
        """Return the exact number of eligible passages per value, most frequent first."""
        kind = kind_of(field, self._fields, pointer="/field")
        return count_values(self._shard, field, kind, where, limit)

    def copy_to(self, other: PassageShard, ids: Collection[str]) -> None:
        """Make ``other`` agree with this shard on some ids, deletions included."""
        records = self._retrieve(ids, payload=True, vector=True)
        other.delete(set(ids) - {record_passage(record).id for record in records})
        other._upsert_points(
            [qe.Point(record.id, record.vector or {}, record.payload) for record in records]
        )

    def flush(self) -> None:
        """Make every write survive loss of power, and let the log shrink."""
        with engine_errors("flush"):
            self._shard.flush()

    def close(self) -> None:
        """Let go of the files; the object is of no use afterwards."""
        with engine_errors("close"):
            self._shard.close()

    def _upsert_points(self, points: list[qe.Point]) -> None:
        self._will_write([point.id for point in points])
        with engine_errors("store passages"):
            self._shard.update(qe.UpdateOperation.upsert_points(points))

    def _will_write(self, keys: Collection[qe.PointId]) -> None:
        self._count = None
        self._languages.clear()
        self._cache.forget([point_number(key) for key in keys])

    def _count_languages(self, condition: Filter | None) -> dict[str, int]:
        where = PassageFilter(condition=condition)
        counts = self.facets("language", where, max(1, self.passages))
        return {str(code): n for code, n in counts.items()}

    def _create_indexes(self) -> None:
        # Filtering without an index is a scan. It must precede the first point, because an
        # approximate index is linked for the payload indexes that exist when it is built.
        with engine_errors("index the fields"):
            for name, kind in indexed_fields(self._fields).items():
                self._shard.update(create_index(name, kind))

    def _retrieve(
        self, ids: Collection[str], *, payload: bool | list[str], vector: bool = False
    ) -> list[qe.Record]:
        keys: list[qe.PointId] = [point_id(passage_id) for passage_id in ids]
        with engine_errors("read passages"):
            return self._shard.retrieve(keys, with_payload=payload, with_vector=vector)

    def _passages_of(self, keys: Collection[qe.PointId]) -> dict[qe.PointId, Passage]:
        numbers = {key: point_number(key) for key in keys}
        found = self._cache.get(numbers.values(), self._read)
        return {key: found[number] for key, number in numbers.items()}

    def _read(self, keys: Sequence[int]) -> dict[int, Passage]:
        points: list[qe.PointId] = [UUID(int=key) for key in keys]
        with engine_errors("read passages"):
            records = self._shard.retrieve(points, with_payload=True, with_vector=False)
        return {point_number(record.id): record_passage(record) for record in records}
