"""Collections on a Qdrant server: how they are made, what they record, and their alias.

Every encoder has a collection of its own, ``<name>@<fingerprint>``, and the alias ``<name>``
points to the one that is served. What a collection was indexed with is in its metadata, so that
no service searches it with another encoder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qdrant_client import AsyncQdrantClient, models

from app.adapters.passage_payload import VECTOR_NAME, WORDS_NAME, field_key
from app.adapters.qdrant.connection import QdrantConnection
from app.adapters.qdrant.filter import index_schema
from app.adapters.qdrant.options import QdrantOptions
from app.core.errors import EncoderMismatchError, StoreError
from app.core.passages.fields import BUILT_IN_FIELDS, check_fields
from app.core.types import CollectionSpec, FieldKind, Served

SCHEMA = 1
"""Version of the record and of what a point holds."""

RECORD_KEY = "isoglot"
"""Key of the record in the metadata of a collection."""

BUNDLE_KEY = "isoglot_bundle"
"""Key, in the same place, of the directory of the bundle that it was switched to with."""

SETUP_SECONDS = 60.0
"""Deadline of calls that make collections and indexes; a cluster has to agree on them."""

MAX_POINTS = 10_000
"""Most points of one answer; strict mode refuses to give out more."""

MAX_UPSERT = 1_000
MAX_QUERIES = 2_000
SEARCH_BEAM = 128
"""Candidates the approximate index keeps while it walks (``hnsw_ef``)."""

LINKS_PER_NODE = 16
BUILD_BEAM = 100
INT8_QUANTILE = 0.99


@dataclass(frozen=True, slots=True)
class QdrantRecord:
    """What a collection says of itself.

    Attributes:
        name: Name that it is served under.
        encoder_id: Fingerprint of the encoder of all its vectors.
        dim: Number of dimensions of its vectors.
        fields: Declared fields whose values every point holds.
        indexed: Payload keys that carry an index.
        words: Whether every point holds its words.
    """

    name: str
    encoder_id: str
    dim: int
    fields: Mapping[str, FieldKind]
    indexed: frozenset[str]
    words: bool = False


def collection_name(name: str, encoder_id: str) -> str:
    """Return the name of the collection of one encoder."""
    return f"{name}@{encoder_id}"


async def served_collection(connection: QdrantConnection, name: str) -> Served | None:
    """Return the collection that the alias points to; ``None`` where there is no alias."""
    target = await _alias_target(connection, name)
    if target is None:
        return None
    info = await connection.call(
        "read the collection", lambda client: client.get_collection(target)
    )
    return Served(target, str((info.config.metadata or {}).get(BUNDLE_KEY, "")))


async def serve_collection(connection: QdrantConnection, name: str, served: Served) -> None:
    """Let the alias point to a collection, in one step, whatever it pointed to before."""
    if served.bundle:
        metadata = {BUNDLE_KEY: served.bundle}
        await connection.call(
            "record the bundle",
            lambda client: client.update_collection(served.collection, metadata=metadata),
            deadline=SETUP_SECONDS,
        )
    create = models.CreateAliasOperation(
        create_alias=models.CreateAlias(collection_name=served.collection, alias_name=name)
    )
    changes: list[models.AliasOperations] = [create]
    if await _alias_target(connection, name) is not None:
        drop = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=name))
        changes.insert(0, drop)
    await connection.call(
        "switch its alias",
        lambda client: client.update_collection_aliases(changes),
        deadline=SETUP_SECONDS,
    )


async def _alias_target(connection: QdrantConnection, name: str) -> str | None:
    answer = await connection.call("read its aliases", lambda client: client.get_aliases())
    found = {alias.alias_name: alias.collection_name for alias in answer.aliases}
    return found.get(name)


async def ensure_collection(
    connection: QdrantConnection, collection: str, spec: CollectionSpec
) -> QdrantRecord:
    """Return what a collection says of itself; one that is missing is made, indexes included.

    Raises:
        EncoderMismatchError: It was indexed with another encoder; nothing was changed.
        StoreError: It is not one of ours, holds another collection, or the server failed.
    """
    record = await read_record(connection, collection)
    if record is None:
        await _create(connection, collection, spec)
        record = await read_record(connection, collection)
        if record is None:
            raise StoreError(f"Qdrant lost the collection {collection!r} that was just made.")
    if record.encoder_id != spec.encoder_id:
        raise EncoderMismatchError(
            collection=spec.name, indexed_with=record.encoder_id, loaded=spec.encoder_id
        )
    if (record.name, record.dim) != (spec.name, spec.dim):
        raise StoreError(
            f"The collection {collection!r} on the Qdrant server holds {record.name!r} with "
            f"vectors of {record.dim} dimensions, not {spec.name!r} with {spec.dim}."
        )
    await _create_indexes(connection, collection, record)
    return record


async def declare(
    connection: QdrantConnection, collection: str, spec: CollectionSpec, record: QdrantRecord
) -> None:
    """Record other declared fields, once every point holds their values, and index them."""
    outdated = {
        field_key(name) for name, kind in record.fields.items() if spec.fields.get(name) != kind
    }
    for key in sorted(outdated):
        await _drop_index(connection, collection, key)
    changed = replace(record, fields=spec.fields, indexed=record.indexed - outdated)
    await _create_indexes(connection, collection, changed)
    metadata = _metadata(spec, words=record.words)
    await connection.call(
        "record the declared fields",
        lambda client: client.update_collection(collection, metadata=metadata),
        deadline=SETUP_SECONDS,
    )


async def take_words(connection: QdrantConnection, collection: str) -> None:
    """Let points hold their words; where they may already, nothing is done."""
    config = models.SparseVectorNameConfig(
        sparse=models.SparseVectorConfig(modifier=models.Modifier.IDF)
    )

    async def create(client: AsyncQdrantClient) -> None:
        # Another replica of the service, or the attempt before this one, may have done it.
        info = await client.get_collection(collection)
        if WORDS_NAME not in (info.config.params.sparse_vectors or {}):
            await client.create_vector_name(collection, WORDS_NAME, config)

    await connection.call("make room for words", create, deadline=SETUP_SECONDS)


async def declare_words(
    connection: QdrantConnection, collection: str, spec: CollectionSpec
) -> None:
    """Record that every point holds its words."""
    metadata = _metadata(spec, words=True)
    await connection.call(
        "record that words are indexed",
        lambda client: client.update_collection(collection, metadata=metadata),
        deadline=SETUP_SECONDS,
    )


async def read_record(connection: QdrantConnection, collection: str) -> QdrantRecord | None:
    """Return what a collection says of itself; ``None`` where there is no such collection.

    Raises:
        StoreError: It is not one of ours.
    """

    async def read(client: AsyncQdrantClient) -> models.CollectionInfo | None:
        if not await client.collection_exists(collection):
            return None
        return await client.get_collection(collection)

    info = await connection.call("read the collection", read)
    return None if info is None else _record(collection, info)


def _record(collection: str, info: models.CollectionInfo) -> QdrantRecord:
    text = (info.config.metadata or {}).get(RECORD_KEY)
    if text is None:
        raise StoreError(
            f"The Qdrant server has a collection {collection!r} that Isoglot has not made. "
            "Choose another ISOGLOT_COLLECTION."
        )
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ValueError(f"it has schema {document['schema']!r}, not {SCHEMA}")  # noqa: TRY301
        return QdrantRecord(
            name=str(document["name"]),
            encoder_id=str(document["encoder_id"]),
            dim=int(document["dim"]),
            fields=check_fields(document["fields"]),
            indexed=frozenset(info.payload_schema),
            words=bool(document.get("words", False)),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(
            f"The record of collection {collection!r} on the Qdrant server cannot be read: "
            f"{error}. Restore it from a backup, or drop the collection and index again."
        ) from error


def _metadata(spec: CollectionSpec, *, words: bool) -> dict[str, str]:
    # As text: the server merges objects member by member, and a field that is declared no more
    # would stay.
    document = {
        "schema": SCHEMA,
        "name": spec.name,
        "encoder_id": spec.encoder_id,
        "dim": spec.dim,
        "fields": dict(spec.fields),
        "words": words,
    }
    return {RECORD_KEY: json.dumps(document)}


async def _create(connection: QdrantConnection, collection: str, spec: CollectionSpec) -> None:
    options = connection.options

    async def create(client: AsyncQdrantClient) -> None:
        # Another replica of the service, or the attempt before this one, may have made it.
        if not await client.collection_exists(collection):
            await client.create_collection(collection, **_layout(spec, options))

    await connection.call("create the collection", create, deadline=SETUP_SECONDS)


def _layout(spec: CollectionSpec, options: QdrantOptions) -> dict[str, Any]:
    words = {WORDS_NAME: models.SparseVectorParams(modifier=models.Modifier.IDF)}
    return {
        "vectors_config": {
            VECTOR_NAME: models.VectorParams(
                size=spec.dim,
                distance=models.Distance.COSINE,
                on_disk=True if options.vectors_on_disk else None,
            )
        },
        "sparse_vectors_config": words if spec.words else None,
        "hnsw_config": models.HnswConfigDiff(m=LINKS_PER_NODE, ef_construct=BUILD_BEAM),
        "quantization_config": models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(
                type=models.ScalarType.INT8, quantile=INT8_QUANTILE, always_ram=True
            )
        ),
        "shard_number": options.shards,
        "replication_factor": options.replicas,
        "write_consistency_factor": options.write_consistency,
        "strict_mode_config": models.StrictModeConfig(
            enabled=True,
            max_query_limit=MAX_POINTS,
            unindexed_filtering_retrieve=False,
            unindexed_filtering_update=False,
            search_max_hnsw_ef=SEARCH_BEAM * 4,
            search_max_batchsize=MAX_QUERIES,
            upsert_max_batchsize=MAX_UPSERT,
        ),
        "metadata": _metadata(spec, words=spec.words),
    }


async def _create_indexes(
    connection: QdrantConnection, collection: str, record: QdrantRecord
) -> None:
    # Before the first point: the approximate index is linked for the payload indexes that exist
    # when it is built. Creating one that exists does nothing.
    for name, kind in {**BUILT_IN_FIELDS, **record.fields}.items():
        if field_key(name) not in record.indexed:
            await _create_index(connection, collection, name, kind)


async def _create_index(
    connection: QdrantConnection, collection: str, name: str, kind: FieldKind
) -> None:
    key, schema = field_key(name), index_schema(name, kind)
    await connection.call(
        "index a field",
        lambda client: client.create_payload_index(collection, key, field_schema=schema),
        deadline=SETUP_SECONDS,
    )


async def _drop_index(connection: QdrantConnection, collection: str, key: str) -> None:
    await connection.call(
        "drop an index",
        lambda client: client.delete_payload_index(collection, key),
        deadline=SETUP_SECONDS,
    )
