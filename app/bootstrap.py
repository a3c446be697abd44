"""The one place where settings become adapters, and adapters meet the core.

Knows no web framework: the service and the command line both start here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from app.adapters.edge_shelf import EdgeShelf
from app.adapters.encoder_engines import open_encoder
from app.adapters.feedback_key import feedback_key
from app.adapters.feedback_sql import feedback_log
from app.adapters.language_identifier import FastTextIdentifier
from app.adapters.qdrant_options import QdrantOptions
from app.adapters.text_splitter import SemanticSplitter
from app.core.access.tenancy import TenantStore, with_tenant_field
from app.core.bundle import Bundle, load_bundle
from app.core.calibration.calibrator import Calibrator
from app.core.encoding import EncoderThread
from app.core.errors import FeedbackLogError, StoreError
from app.core.feedback.service import FeedbackService
from app.core.feedback.tokens import FeedbackTokens
from app.core.passages.ingest import IngestService
from app.core.ports import (
    LanguageIdentifier,
    PassageStore,
    PassageWriter,
    ServedEncoder,
    Shelf,
    TextSplitter,
    TokenCounter,
)
from app.core.reindexing.copying import Reindexer
from app.core.reindexing.journal import JournaledStore
from app.core.reindexing.progress import Progress
from app.core.search.embeddings import EmbeddingService
from app.core.search.reranking import RerankService
from app.core.search.service import SearchService
from app.core.types import CollectionSpec, Served
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.observed import ObservedEncoder, ObservedStore

_SECONDS_A_DAY = 86_400.0
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tools:
    """What all tenants of a collection share.

    Attributes:
        encoder: The encoder on its thread.
        tokens: Counts what it reads.
        languages: Guesses the language of queries and passages.
        splitter: Cuts documents into passages.
        feedback: Takes feedback; ``None`` where none can be kept.
    """

    encoder: EncoderThread
    tokens: TokenCounter
    languages: LanguageIdentifier
    splitter: TextSplitter
    feedback: FeedbackService | None = None

    def for_tenant(self, tenant: str) -> Tools:
        """Return the same, with feedback of one tenant."""
        desk = self.feedback
        return replace(self, feedback=None if desk is None else desk.for_tenant(tenant))


@dataclass(frozen=True, slots=True)
class Collection:
    """Where a runtime's passages are, for whoever moves them.

    Attributes:
        shelf: Holds this collection and others.
        journal: The opened collection.
        name: Its name on the shelf.
    """

    shelf: Shelf
    journal: JournaledStore
    name: str


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that answers, open and ready.

    Attributes:
        settings: What it was built from.
        bundle: The verified bundle.
        tools: What does not depend on the store.
        store: The opened collection, or what a tenant finds in it.
        search: Answers searches.
        ingest: Adds, returns and removes passages.
        embeddings: Embeds texts.
        rerank: Ranks documents that are not stored.
        place: Where the collection is; ``None`` for tenants, who cannot move it.
        shadow: Judges beside the bundle's calibrator, and is only recorded.
    """

    settings: Settings
    bundle: Bundle
    tools: Tools
    store: PassageStore
    search: SearchService
    ingest: IngestService
    embeddings: EmbeddingService
    rerank: RerankService
    place: Collection | None = None
    shadow: Calibrator | None = None
    _of_tenants: dict[str, Runtime] = field(default_factory=dict, repr=False, compare=False)

    @property
    def encoder(self) -> EncoderThread:
        """The encoder on its thread."""
        return self.tools.encoder

    @property
    def feedback(self) -> FeedbackService | None:
        """Takes feedback; ``None`` where none can be kept."""
        return self.tools.feedback

    @property
    def collection(self) -> str:
        """Name of the collection that is served."""
        return self.settings.collection

    def for_tenant(self, tenant: str) -> Runtime:
        """Return the same for the passages of one tenant, beside which there are no others.

        Args:
            tenant: Comes from the key file, so that there are only as many as keys.
        """
        found = self._of_tenants.get(tenant)
        if found is None:
            store = TenantStore(self.store, tenant)
            tools = self.tools.for_tenant(tenant)
            found = _runtime(self.settings, self.bundle, tools, store, shadow=self.shadow)
            self._of_tenants[tenant] = found
        return found

    def with_calibrators(self, active: Calibrator | None, shadow: Calibrator | None) -> Runtime:
        """Return the same with other calibrators; requests under way keep what they began with.

        Args:
            active: What states probabilities, in the place of the bundle's own.
            shadow: What is recorded beside it; ``None`` for nothing.
        """
        return replace(
            self,
            bundle=replace(self.bundle, calibrator=active),
            search=self.search.with_calibrators(active, shadow),
            rerank=self.rerank.with_calibrator(active),
            shadow=shadow,
            _of_tenants={
                tenant: runtime.with_calibrators(active, shadow)
                for tenant, runtime in self._of_tenants.items()
            },
        )


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
    shelf = await asyncio.to_thread(open_shelf, settings)
    try:
        served = await shelf.served()
        if served is None:
            collection = await shelf.collection_for(bundle.spec.fingerprint())
        else:
            collection = served.collection
            bundle = await _bundle_of(served, shelf, bundle)
        journal = JournaledStore(shelf.store(collection))
        adapter = await _encoder(settings, bundle)
        async with (
            _feedback(settings, wanted=metrics is not None) as feedback,
            assemble(settings, bundle, adapter, journal, languages, metrics, feedback) as runtime,
        ):
            if served is None:
                await shelf.serve(Served(collection))
            yield replace(runtime, place=Collection(shelf, journal, collection))
    finally:
        await shelf.close()


async def open_replacement(
    current: Runtime, bundle: Bundle, store: PassageStore, metrics: Metrics | None
) -> Runtime:
    """Return a runtime with another bundle over an open store; the caller closes its encoder.

    Raises:
        EncodingError: The encoder does not run.
    """
    settings = current.settings
    adapter = await _encoder(settings, bundle)
    adapter, encoder = _on_thread(adapter, metrics)
    try:
        await encoder.warm_up(adapter.engine)
        splitter = SemanticSplitter(bundle.tokenizer_path)
        shared = current.tools
        tools = Tools(encoder, adapter, shared.languages, splitter, shared.feedback)
        return _runtime(settings, bundle, tools, store)
    except BaseException:
        await asyncio.to_thread(encoder.close)
        raise


def _is_directory(path: str) -> bool:
    return bool(path) and Path(path).is_dir()


def observed(store: PassageStore, metrics: Metrics | None) -> PassageStore:
    """Return a store that reports to the metrics, where there are any."""
    return store if metrics is None else ObservedStore(store, metrics.store)


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
        before = replace(spec, encoder_id=indexed_with.encoder_id, dim=indexed_with.dim)
        await source.open(before)
        stack.push_async_callback(source.close)
        target = shelf.store(name)
        await target.open(spec)
        stack.push_async_callback(target.close)
        encoder = EncoderThread(await _encoder(settings, bundle))
        stack.push_async_callback(asyncio.to_thread, encoder.close)
        copier = Reindexer(source=source, target=target, encoder=encoder, on_progress=on_progress)
        await copier.copy()
        await copier.switch(lambda: shelf.serve(Served(name, str(bundle.directory.resolve()))))
        return copier.progress


async def served_bundle(settings: Settings) -> Bundle:
    """Return the bundle that a service with these settings starts with.

    Raises:
        BundleError: It cannot be used.
        StoreError: Where the collections are cannot be read.
    """
    bundle = await asyncio.to_thread(load_bundle, settings.bundle)
    shelf = await asyncio.to_thread(open_shelf, settings)
    try:
        served = await shelf.served()
        return bundle if served is None else await _bundle_of(served, shelf, bundle)
    finally:
        await shelf.close()


async def _bundle_of(served: Served, shelf: Shelf, bundle: Bundle) -> Bundle:
    """Return the bundle to serve: what was switched to last, where the given one does not fit."""
    indexed_with = await shelf.indexed_with(served.collection)
    fits = indexed_with is None or indexed_with.encoder_id == bundle.spec.fingerprint()
    if fits or not await asyncio.to_thread(_is_directory, served.bundle):
        return bundle
    return await asyncio.to_thread(load_bundle, Path(served.bundle))


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
    adapter, encoder = _on_thread(adapter, metrics)
    store = observed(store, metrics)
    try:
        await encoder.warm_up(adapter.engine)
        await store.open(spec_of(settings, bundle))
        try:
            splitter = SemanticSplitter(bundle.tokenizer_path)
            tools = Tools(encoder, adapter, languages, splitter, feedback)
            yield _runtime(settings, bundle, tools, store)
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
    encoder = EncoderThread(await _encoder(settings, bundle))
    try:
        yield IngestService(
            encoder=encoder,
            store=store,
            languages=await asyncio.to_thread(FastTextIdentifier),
            splitter=SemanticSplitter(bundle.tokenizer_path),
        )
    finally:
        await asyncio.to_thread(encoder.close)


def spec_of(settings: Settings, bundle: Bundle) -> CollectionSpec:
    """Return what the collection of a bundle is indexed with."""
    return CollectionSpec(
        name=settings.collection,
        encoder_id=bundle.spec.fingerprint(),
        dim=bundle.spec.dim,
        fields=with_tenant_field(settings.filter_fields),
    )


def open_shelf(settings: Settings) -> Shelf:
    """Return where the collections are: on the Qdrant server that is named, or in a directory.

    Raises:
        StoreError: A server is named, but its client is not installed.
    """
    if settings.qdrant_url is None:
        reserve = settings.disk_reserve_mib << 20
        return EdgeShelf(settings.data_dir, settings.collection, reserve=reserve)
    try:
        # Takes most of a second, and is not part of the base install.
        from app.adapters.qdrant_shelf import open_qdrant_shelf
    except ModuleNotFoundError as error:
        raise StoreError(
            "ISOGLOT_QDRANT_URL names a Qdrant server, but its client is not installed: "
            "pip install 'isoglot[qdrant]'."
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


@asynccontextmanager
async def _feedback(settings: Settings, *, wanted: bool) -> AsyncIterator[FeedbackService | None]:
    """Open the feedback log; where that fails, searches are answered all the same."""
    if not wanted:
        yield None
        return
    url = settings.feedback_log
    try:
        key = await asyncio.to_thread(feedback_key, settings.data_dir, settings.feedback_key)
        log = feedback_log(
            None if url is None else url.get_secret_value(),
            data_dir=settings.data_dir,
            collection=settings.collection,
        )
    except FeedbackLogError as error:
        _log.error("no_feedback", reason=str(error))
        yield None
        return
    try:
        await log.open()
    except FeedbackLogError as error:  # each call tries again
        _log.error("feedback_log_unavailable", reason=str(error))
    tokens = FeedbackTokens(
        key, collection=settings.collection, lifetime=settings.feedback_days * _SECONDS_A_DAY
    )
    try:
        yield FeedbackService(tokens, log)
    finally:
        await log.close()


def _runtime(
    settings: Settings,
    bundle: Bundle,
    tools: Tools,
    store: PassageStore,
    *,
    shadow: Calibrator | None = None,
) -> Runtime:
    encoder, tokens, languages = tools.encoder, tools.tokens, tools.languages
    calibrator = bundle.calibrator
    return Runtime(
        settings=settings,
        bundle=bundle,
        tools=tools,
        store=store,
        search=SearchService(
            encoder=encoder,
            store=store,
            calibrator=calibrator,
            languages=languages,
            shadow=shadow,
        ),
        ingest=IngestService(
            encoder=encoder, store=store, languages=languages, splitter=tools.splitter
        ),
        embeddings=EmbeddingService(encoder=encoder, tokens=tokens),
        rerank=RerankService(
            encoder=encoder, tokens=tokens, calibrator=calibrator, languages=languages
        ),
        shadow=shadow,
    )


def _on_thread(
    adapter: ServedEncoder, metrics: Metrics | None
) -> tuple[ServedEncoder, EncoderThread]:
    """Return an encoder that reports to the metrics, and the thread that it runs on."""
    if metrics is None:
        return adapter, EncoderThread(adapter)
    metrics.encoder.computed_by(adapter.engine)
    observed_encoder = ObservedEncoder(adapter, metrics.encoder)
    return observed_encoder, EncoderThread(observed_encoder, observer=metrics.encoder)


async def _encoder(settings: Settings, bundle: Bundle) -> ServedEncoder:
    engine, threads = settings.encoder_engine, settings.encoder_threads
    return await asyncio.to_thread(open_encoder, bundle, engine=engine, threads=threads)
