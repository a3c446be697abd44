"""Opening what answers: adapters meet the core, in order, and are closed in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from app.adapters.calibrator_shelf import CalibratorShelf
from app.adapters.language_identifier import FastTextIdentifier
from app.adapters.text_splitter import SemanticSplitter
from app.bootstrap.encoders import encoder_of, on_thread
from app.bootstrap.feedback import open_feedback
from app.bootstrap.runtime import Collection, Runtime, Tools, make_runtime
from app.bootstrap.shelves import open_shelf, served_on, spec_of
from app.core.bundle import Bundle, load_bundle
from app.core.encoding import EncoderThread
from app.core.feedback.service import FeedbackService
from app.core.passages.ingest import IngestService
from app.core.ports import LanguageIdentifier, PassageStore, PassageWriter, ServedEncoder
from app.core.reindexing.journal import JournaledStore
from app.core.types import Served
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.observed import ObservedStore


@asynccontextmanager
async def open_runtime(
    settings: Settings, bundle: Bundle | None = None, metrics: Metrics | None = None
) -> AsyncIterator[Runtime]:
    """Build everything, open the collection and warm the encoder; close in reverse order.

    Args:
        settings: What to build.
        bundle: The bundle that ``settings.bundle`` names, where it has been loaded already.
        metrics: What a service reports to. A command gives ``None``, and takes no feedback.

    Raises:
        BundleError: The bundle cannot be used (see ``load_bundle``).
        CalibrationError: Its calibrator is malformed.
        EncoderMismatchError: The collection was indexed with another encoder.
        StoreLockedError: Another process has the collection open.
        StoreUnavailableError: The Qdrant server cannot be reached.
        EncodingError: The encoder does not run.
    """
    if bundle is None:
        bundle = await asyncio.to_thread(load_bundle, settings.bundle)
    languages = await asyncio.to_thread(FastTextIdentifier)
    async with AsyncExitStack() as stack:
        shelf = await asyncio.to_thread(open_shelf, settings)
        stack.push_async_callback(shelf.close)
        collection, bundle = await served_on(shelf, bundle)
        journal = JournaledStore(shelf.store(collection))
        adapter = await encoder_of(settings, bundle)
        feedback = None
        if metrics is not None:
            feedback = await stack.enter_async_context(open_feedback(settings))
        runtime = await stack.enter_async_context(
            assemble(settings, bundle, adapter, journal, languages, metrics, feedback)
        )
        if await shelf.served() is None:
            await shelf.serve(Served(collection))
        yield replace(runtime, place=Collection(shelf, journal, collection))


@asynccontextmanager
async def open_as_served(settings: Settings) -> AsyncIterator[Runtime]:
    """Build what answers as a service with these settings does, for a command.

    It is judged by the calibrator that was chosen, where one was. Raises as ``open_runtime``, and:

    Raises:
        CalibratorShelfError: What was chosen cannot be read, or is not there.
        CalibrationError: It is damaged.
    """
    async with open_runtime(settings) as runtime:
        shelf = CalibratorShelf.of(settings.data_dir, settings.collection)
        chosen = await asyncio.to_thread(shelf.chosen, runtime.bundle)
        yield runtime.with_calibrators(chosen.active, chosen.shadow)


async def open_replacement(
    current: Runtime, bundle: Bundle, store: PassageStore, metrics: Metrics | None
) -> Runtime:
    """Return a runtime with another bundle over an open store; the caller closes its encoder.

    Raises:
        EncodingError: The encoder does not run.
    """
    settings = current.settings
    adapter = await encoder_of(settings, bundle)
    adapter, encoder = on_thread(adapter, metrics)
    try:
        await encoder.warm_up(adapter.engine)
        splitter = SemanticSplitter(bundle.tokenizer_path)
        shared = current.tools
        tools = Tools(encoder, adapter, shared.languages, splitter, shared.feedback)
        return make_runtime(settings, bundle, tools, store)
    except BaseException:
        await asyncio.to_thread(encoder.close)
        raise


@asynccontextmanager
async def assemble(  # noqa: PLR0913  each is one part
    settings: Settings,
    bundle: Bundle,
    adapter: ServedEncoder,
    store: PassageStore,
    languages: LanguageIdentifier,
    metrics: Metrics | None = None,
    feedback: FeedbackService | None = None,
) -> AsyncIterator[Runtime]:
    """Join adapters to the core; opens and closes the store and the encoder's thread.

    Args:
        settings: Names the collection.
        bundle: Carries the calibrator.
        adapter: The encoder of the bundle.
        store: A store that is not open yet.
        languages: Guesses the language of queries and passages.
        metrics: What encoder and store report to; ``None`` where nobody looks.
        feedback: Takes feedback; ``None`` where none can be kept.

    Raises:
        EncoderMismatchError: The collection was indexed with another encoder.
        StoreLockedError: Another process has the collection open.
        EncodingError: The encoder does not run.
    """
    adapter, encoder = on_thread(adapter, metrics)
    store = observed(store, metrics)
    try:
        await encoder.warm_up(adapter.engine)
        await store.open(spec_of(settings, bundle))
        try:
            splitter = SemanticSplitter(bundle.tokenizer_path)
            tools = Tools(encoder, adapter, languages, splitter, feedback)
            yield make_runtime(settings, bundle, tools, store)
        finally:
            await store.close()
    finally:
        # The thread may be in the middle of a pass: wait for it off the event loop.
        await asyncio.to_thread(encoder.close)


@asynccontextmanager
async def open_ingest(settings: Settings, store: PassageWriter) -> AsyncIterator[IngestService]:
    """Build what adds passages to a store that somebody else has open.

    Raises:
        BundleError: The bundle cannot be used (see ``load_bundle``).
        EncodingError: The encoder does not run.
    """
    bundle = await asyncio.to_thread(load_bundle, settings.bundle)
    encoder = EncoderThread(await encoder_of(settings, bundle))
    try:
        yield IngestService(
            encoder=encoder,
            store=store,
            languages=await asyncio.to_thread(FastTextIdentifier),
            splitter=SemanticSplitter(bundle.tokenizer_path),
        )
    finally:
        await asyncio.to_thread(encoder.close)


def observed(store: PassageStore, metrics: Metrics | None) -> PassageStore:
    """Return a store that reports to the metrics, where there are any."""
    return store if metrics is None else ObservedStore(store, metrics.store)
