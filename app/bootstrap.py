"""The one place where settings become adapters, and adapters meet the core.

Knows no web framework: the service and the command line both start here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from app.adapters.edge_store import EdgePassageStore
from app.adapters.language_identifier import FastTextIdentifier
from app.adapters.onnx_encoder import OnnxEncoder
from app.core.bundle import Bundle, load_bundle
from app.core.encoding import EncoderThread
from app.core.ingest import IngestService
from app.core.ports import Encoder, LanguageIdentifier, PassageStore
from app.core.search import SearchService
from app.core.types import CollectionSpec
from app.settings import Settings

_WARM_UP_TEXT = "warm-up"
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that answers, open and ready.

    Attributes:
        settings: What it was built from.
        bundle: The verified bundle.
        encoder: The encoder on its thread.
        store: The opened collection.
        search: Answers searches.
        ingest: Adds, returns and removes passages.
    """

    settings: Settings
    bundle: Bundle
    encoder: EncoderThread
    store: PassageStore
    search: SearchService
    ingest: IngestService

    @property
    def collection(self) -> str:
        """Name of the collection that is served."""
        return self.settings.collection


@asynccontextmanager
async def open_runtime(settings: Settings, bundle: Bundle | None = None) -> AsyncIterator[Runtime]:
    """Build everything, open the collection and warm the encoder; close in reverse order.

    Args:
        settings: What to build.
        bundle: The bundle that ``settings.bundle`` names, where it has been loaded already.

    Raises:
        BundleError: The bundle cannot be used (see ``load_bundle``).
        CalibrationError: Its calibrator is malformed.
        EncoderMismatchError: The collection was indexed with another encoder.
        StoreLockedError: Another process has the collection open.
        EncodingError: The encoder does not run.
    """
    if bundle is None:
        bundle = await asyncio.to_thread(load_bundle, settings.bundle)
    adapter = await asyncio.to_thread(_encoder, settings, bundle)
    languages = await asyncio.to_thread(FastTextIdentifier)
    store = EdgePassageStore(settings.collection_dir)
    async with assemble(settings, bundle, adapter, store, languages) as runtime:
        yield runtime


@asynccontextmanager
async def assemble(
    settings: Settings,
    bundle: Bundle,
    adapter: Encoder,
    store: PassageStore,
    languages: LanguageIdentifier,
) -> AsyncIterator[Runtime]:
    """Join adapters to the core; opens and closes the store and the encoder's thread.

    Args:
        settings: Names the collection.
        bundle: Carries the calibrator.
        adapter: The encoder of the bundle.
        store: A store that is not open yet.
        languages: Guesses the language of queries and passages.

    Raises:
        EncoderMismatchError: The collection was indexed with another encoder.
        StoreLockedError: Another process has the collection open.
        EncodingError: The encoder does not run.
    """
    encoder = EncoderThread(adapter)
    try:
        await encoder.encode_query(_WARM_UP_TEXT)
        await store.open(
            CollectionSpec(
                name=settings.collection,
                encoder_id=encoder.spec.fingerprint(),
                dim=encoder.spec.dim,
            )
        )
        try:
            yield Runtime(
                settings=settings,
                bundle=bundle,
                encoder=encoder,
                store=store,
                search=SearchService(
                    encoder=encoder, store=store, calibrator=bundle.calibrator, languages=languages
                ),
                ingest=IngestService(encoder=encoder, store=store, languages=languages),
            )
        finally:
            await store.close()
    finally:
        # The thread may be in the middle of a pass: wait for it off the event loop.
        await asyncio.to_thread(encoder.close)


def _encoder(settings: Settings, bundle: Bundle) -> OnnxEncoder:
    return OnnxEncoder(
        bundle.spec,
        bundle.onnx_path(),
        bundle.tokenizer_path,
        threads=settings.encoder_threads,
    )
