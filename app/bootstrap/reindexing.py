"""Embedding all passages anew without a running service: what ``isoglot reindex`` does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

from app.bootstrap.encoders import encoder_of
from app.bootstrap.shelves import open_shelf, spec_of
from app.core.bundle import load_bundle
from app.core.encoding import EncoderThread
from app.core.reindexing.copying import Reindexer
from app.core.reindexing.journal import JournaledStore
from app.core.reindexing.progress import Progress
from app.core.types import Served
from app.settings import Settings


async def open_reindexing(
    settings: Settings, on_progress: Callable[[Progress], None]
) -> Progress | None:
    """Embed all passages with the encoder of ``settings.bundle``, without a running service.

    Args:
        settings: Names the bundle that is to be served from now on, and the collection.
        on_progress: Called after every step.

    Returns:
        What was done; ``None`` where the passages are indexed with that encoder already.

    Raises:
        BundleError: The bundle cannot be used.
        ReindexingError: A passage cannot be embedded, or the result may not be served.
        StoreError: The collection cannot be opened, or failed.
    """
    bundle = await asyncio.to_thread(load_bundle, settings.bundle)
    async with AsyncExitStack() as stack:
        shelf = await asyncio.to_thread(open_shelf, settings)
        stack.push_async_callback(shelf.close)
        name = await shelf.collection_for(bundle.spec.fingerprint())
        served = await shelf.served()
        indexed_with = None if served is None else await shelf.indexed_with(served.collection)
        if served is None or indexed_with is None or served.collection == name:
            return None
        source = JournaledStore(shelf.store(served.collection))
        spec = spec_of(settings, bundle)
        before = replace(
            spec, encoder_id=indexed_with.encoder_id, dim=indexed_with.dim, words=False
        )
        await source.open(before)
        stack.push_async_callback(source.close)
        target = shelf.store(name)
        await target.open(spec_of(settings, bundle, words=source.words))
        stack.push_async_callback(target.close)
        encoder = EncoderThread(await encoder_of(settings, bundle))
        stack.push_async_callback(asyncio.to_thread, encoder.close)
        copier = Reindexer(source=source, target=target, encoder=encoder, on_progress=on_progress)
        await copier.copy()
        await copier.switch(lambda: shelf.serve(Served(name, str(bundle.directory.resolve()))))
        return copier.progress
