"""Where the collections of a deployment are, and which of them is served with which bundle."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.adapters.backups.restoring import refuse_unfinished
from app.adapters.edge.shelf import EdgeShelf
from app.adapters.qdrant.options import QdrantOptions
from app.core.access.tenancy import with_tenant_field
from app.core.bundle import Bundle, load_bundle
from app.core.errors import StoreError
from app.core.ports import Shelf
from app.core.types import CollectionSpec
from app.settings import Settings


def open_shelf(settings: Settings) -> Shelf:
    """Return where the collections are: on the Qdrant server that is named, or in a directory.

    Raises:
        BackupError: A restore into the data directory was interrupted.
        StoreError: A server is named, but its client is not installed.
    """
    refuse_unfinished(settings.data_dir)
    if settings.qdrant_url is None:
        reserve = settings.disk_reserve_mib << 20
        return EdgeShelf(settings.data_dir, settings.collection, reserve=reserve)
    try:
        # Takes most of a second, and is not part of the base install.
        from app.adapters.qdrant.shelf import open_qdrant_shelf
    except ModuleNotFoundError as error:
        raise StoreError(
            "ISOGLOT_QDRANT_URL names a Qdrant server, but its client is not installed: "
            "pip install '.[qdrant]' in the checkout of Isoglot."
        ) from error
    key = settings.qdrant_api_key
    return open_qdrant_shelf(
        settings.collection,
        QdrantOptions(
            url=settings.qdrant_url,
            api_key=None if key is None else key.get_secret_value(),
            grpc=settings.qdrant_grpc,
            grpc_port=settings.qdrant_grpc_port,
            timeout=settings.qdrant_timeout,
            shards=settings.qdrant_shards,
            replicas=settings.qdrant_replicas,
            write_consistency=settings.qdrant_write_consistency,
            vectors_on_disk=settings.qdrant_vectors_on_disk,
        ),
    )


def spec_of(settings: Settings, bundle: Bundle, *, words: bool = False) -> CollectionSpec:
    """Return what the collection of a bundle is indexed with.

    Args:
        settings: Say what is wanted.
        bundle: Carries the encoder.
        words: Whether the words of its passages are indexed whatever the settings want, as they
            were in the collection whose place it takes.
    """
    return CollectionSpec(
        name=settings.collection,
        encoder_id=bundle.spec.fingerprint(),
        dim=bundle.spec.dim,
        fields=with_tenant_field(settings.filter_fields),
        words=settings.hybrid or words,
    )


async def served_on(shelf: Shelf, bundle: Bundle) -> tuple[str, Bundle]:
    """Return which collection is served with which bundle: the given one, where it fits.

    Where nothing was served yet, it is the collection that is to be made. Where the collection
    was indexed with another encoder, it is the bundle that was switched to last, if it is there.

    Raises:
        BundleError: That bundle cannot be used.
        StoreError: Where the collections are cannot be read.
    """
    served = await shelf.served()
    encoder = bundle.spec.fingerprint()
    if served is None:
        return await shelf.collection_for(encoder), bundle
    indexed_with = await shelf.indexed_with(served.collection)
    if indexed_with is not None:
        encoder = indexed_with.encoder_id
    return served.collection, await asyncio.to_thread(
        bundle_for, encoder, bundle, switched_to=served.bundle
    )


async def served_bundle(settings: Settings) -> Bundle:
    """Return the bundle that a service with these settings starts with.

    Raises:
        BundleError: It cannot be used.
        StoreError: Where the collections are cannot be read.
    """
    bundle = await asyncio.to_thread(load_bundle, settings.bundle)
    shelf = await asyncio.to_thread(open_shelf, settings)
    try:
        _, bundle = await served_on(shelf, bundle)
    finally:
        await shelf.close()
    return bundle


def bundle_for(encoder_id: str, given: Bundle, *, switched_to: str) -> Bundle:
    """Return the bundle for a collection: the given one, where it fits.

    Args:
        encoder_id: Fingerprint of the encoder of the collection's vectors.
        given: The one that the settings name.
        switched_to: Directory of the bundle that was switched to last; empty before any switch.

    Raises:
        BundleError: That bundle cannot be used.
    """
    if given.spec.fingerprint() == encoder_id or not switched_to:
        return given
    directory = Path(switched_to)
    return load_bundle(directory) if directory.is_dir() else given
