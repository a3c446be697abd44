"""One collection for many tenants: a store in which a tenant finds its own passages alone.

What a tenant writes is stamped with its name, and every read is filtered by that stamp. The id
that a tenant gives is kept under the tenant's name (``acme`` stores ``faq-1`` as ``acme/faq-1``),
so that two tenants may use the same id, and neither learns which ids the other has.

The rest of the core is given a ``TenantStore`` in place of the store and knows nothing of
tenants, so no use case can forget the filter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from app.core.errors import InvalidPassageError, StoreError
from app.core.passages.fields import kind_of
from app.core.passages.filters import combine
from app.core.ports import PassageStore
from app.core.types import (
    ANY_PASSAGE,
    BuildReport,
    CollectionSpec,
    EmbeddedPassage,
    FieldKind,
    Filter,
    FoundByWords,
    MatchAny,
    NearestQuery,
    Passage,
    PassageFilter,
    ScoredPassage,
    StoreHealth,
    WordsQuery,
)

TENANT_FIELD = "_tenant"
"""Member of the metadata that holds the stamp; every collection declares it as a keyword."""

_TENANT_KIND: FieldKind = "keyword"


def with_tenant_field(fields: Mapping[str, FieldKind]) -> dict[str, FieldKind]:
    """Return the fields to declare for a collection: those that were asked for, and the stamp."""
    return {**fields, TENANT_FIELD: _TENANT_KIND}


def tenant_filter(tenant: str) -> PassageFilter:
    """Return the filter that holds for the passages of a tenant."""
    stamped = MatchAny(TENANT_FIELD, frozenset({tenant}))
    return PassageFilter(condition=Filter(must=(stamped,)))


class TenantStore:
    """Implements ``PassageStore`` for the passages of one tenant.

    Args:
        store: The opened store of all tenants; it declares ``TENANT_FIELD``.
        tenant: Name of the tenant, without a slash.
    """

    def __init__(self, store: PassageStore, tenant: str) -> None:
        self._store = store
        self._tenant = tenant
        self._prefix = f"{tenant}/"
        self._where = tenant_filter(tenant)

    @property
    def fields(self) -> Mapping[str, FieldKind]:
        """Members of the metadata that filters may read: not the stamp."""
        return {name: kind for name, kind in self._store.fields.items() if name != TENANT_FIELD}

    @property
    def words(self) -> bool:
        """Whether the words of the collection are indexed."""
        return self._store.words

    async def open(self, spec: CollectionSpec) -> None:
        """Refuse: a collection belongs to all its tenants."""
        self._refuse(f"open {spec.name!r}")

    async def close(self) -> None:
        """Refuse: a collection belongs to all its tenants."""
        self._refuse("close the collection")

    async def build(self) -> BuildReport:
        """Refuse: a collection belongs to all its tenants."""
        self._refuse("rebuild the index")

    async def upsert(self, passages: Sequence[EmbeddedPassage], *, durable: bool) -> None:
        """Insert or replace the tenant's passages, stamped; otherwise as ``PassageStore``.

        Raises:
            InvalidPassageError: Also where metadata holds the stamp's name, or an id is one
                under which somebody else's passage lies.
        """
        await self._check(passages)
        stamped = [
            replace(embedded, passage=self._as_stored(embedded.passage)) for embedded in passages
        ]
        await self._store.upsert(stamped, durable=durable)

    async def delete(self, ids: Collection[str]) -> int:
        """Delete the tenant's passages; returns how many of them existed."""
        return await self._store.delete([p.id for p in await self._stored(list(ids))])

    async def delete_where(self, where: PassageFilter, *, expected: int | None = None) -> int:
        """Delete those of the tenant's passages that are eligible; as ``PassageStore``."""
        return await self._store.delete_where(combine(where, self._where), expected=expected)

    async def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return those of the tenant's passages that exist, in the order of ``ids``."""
        return [self._as_given(passage) for passage in await self._stored(ids)]

    async def content_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Return the content hash of those of the tenant's passages that have one."""
        stored = [passage.id for passage in await self._stored(ids)]
        hashes = await self._store.content_hashes(stored)
        return {self._given_id(stored_id): found for stored_id, found in hashes.items()}

    async def scan(
        self, *, limit: int, where: PassageFilter = ANY_PASSAGE, after: str | None = None
    ) -> list[Passage]:
        """Return the next of the tenant's passages that are eligible; as ``PassageStore``."""
        found = await self._store.scan(
            limit=limit,
            where=combine(where, self._where),
            after=None if after is None else self._prefix + after,
        )
        return [self._as_given(passage) for passage in found]

    async def search(self, queries: Sequence[NearestQuery]) -> list[list[ScoredPassage]]:
        """Answer every query from the tenant's passages; best score first, then by id."""
        asked = [replace(query, where=combine(query.where, self._where)) for query in queries]
        return [
            [ScoredPassage(self._as_given(hit.passage), hit.score) for hit in hits]
            for hits in await self._store.search(asked)
        ]

    async def search_words(self, queries: Sequence[WordsQuery]) -> list[FoundByWords]:
        """Answer every query from the tenant's passages, in which alone words are counted.

        Counted in all, a lexical score would tell how often others write a word.
        """
        asked = [
            replace(
                query,
                where=combine(query.where, self._where),
                beside=tuple(self._prefix + passage_id for passage_id in query.beside),
                counted=self._where,
            )
            for query in queries
        ]
        return [
            FoundByWords(
                [hit._replace(passage=self._as_given(hit.passage)) for hit in found.hits],
                {self._given_id(stored): score for stored, score in found.beside.items()},
            )
            for found in await self._store.search_words(asked)
        ]

    async def count(self, where: PassageFilter = ANY_PASSAGE) -> int:
        """Return the number of the tenant's passages that are eligible."""
        return await self._store.count(combine(where, self._where))

    async def languages(self, where: PassageFilter = ANY_PASSAGE) -> Mapping[str, int]:
        """Return the number of the tenant's eligible passages per language."""
        return await self._store.languages(combine(where, self._where))

    async def facets(
        self, field: str, *, limit: int, where: PassageFilter = ANY_PASSAGE
    ) -> Mapping[str | int | bool, int]:
        """Return the number of the tenant's eligible passages for each value of a field.

        Raises:
            MalformedFilterError: Also for the stamp.
        """
        kind_of(field, self.fields, pointer="/field")
        return await self._store.facets(field, limit=limit, where=combine(where, self._where))

    async def health(self) -> StoreHealth:
        """Say which engine runs, and how many of its passages are the tenant's.

        Where there is an approximate index, all of them are said to be covered by it.
        """
        health = await self._store.health()
        passages = await self.count()
        return replace(
            health,
            passages=passages,
            indexed_passages=passages if health.indexed_passages else 0,
        )

    async def _stored(self, ids: Sequence[str]) -> list[Passage]:
        found = await self._store.get([self._prefix + passage_id for passage_id in ids])
        return [passage for passage in found if self._is_ours(passage)]

    async def _check(self, passages: Sequence[EmbeddedPassage]) -> None:
        ids = [self._prefix + embedded.passage.id for embedded in passages]
        taken = {p.id for p in await self._store.get(ids) if not self._is_ours(p)}
        for index, embedded in enumerate(passages):
            if TENANT_FIELD in embedded.passage.metadata:
                raise InvalidPassageError(
                    f"{TENANT_FIELD!r} is set by the service; leave it out of the metadata.",
                    pointer=f"/{index}/metadata/{TENANT_FIELD}",
                )
            if ids[index] in taken:
                raise InvalidPassageError(
                    f"The id {embedded.passage.id!r} cannot be used; choose another.",
                    pointer=f"/{index}/id",
                )

    def _is_ours(self, passage: Passage) -> bool:
        return passage.metadata.get(TENANT_FIELD) == self._tenant

    def _as_stored(self, passage: Passage) -> Passage:
        return replace(
            passage,
            id=self._prefix + passage.id,
            metadata={**passage.metadata, TENANT_FIELD: self._tenant},
        )

    def _as_given(self, passage: Passage) -> Passage:
        metadata = {name: value for name, value in passage.metadata.items() if name != TENANT_FIELD}
        return replace(passage, id=self._given_id(passage.id), metadata=metadata)

    def _given_id(self, stored_id: str) -> str:
        return stored_id.removeprefix(self._prefix)

    def _refuse(self, what: str) -> NoReturn:
        raise StoreError(f"Tenant {self._tenant!r} cannot {what}, which other tenants use too.")
