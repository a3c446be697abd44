"""A runtime: everything that answers with one bundle over one collection."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from app.core.access.tenancy import TenantStore
from app.core.bundle import Bundle
from app.core.calibration.calibrator import Calibrator
from app.core.encoding import EncoderThread
from app.core.feedback.service import FeedbackService
from app.core.passages.ingest import IngestService
from app.core.ports import LanguageIdentifier, PassageStore, Shelf, TextSplitter, TokenCounter
from app.core.reindexing.journal import JournaledStore
from app.core.search.embeddings import EmbeddingService
from app.core.search.reranking import RerankService
from app.core.search.service import SearchService
from app.settings import Settings


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
            found = make_runtime(self.settings, self.bundle, tools, store, shadow=self.shadow)
            self._of_tenants[tenant] = found
        return found

    def with_calibrators(self, active: Calibrator | None, shadow: Calibrator | None) -> Runtime:
        """Return the same with other calibrators; requests under way keep what they began with.

        That of hybrid retrieval is always the bundle's own.

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


def make_runtime(
    settings: Settings,
    bundle: Bundle,
    tools: Tools,
    store: PassageStore,
    *,
    shadow: Calibrator | None = None,
) -> Runtime:
    """Return what answers with these parts, all of which are open."""
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
            hybrid=bundle.hybrid,
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
