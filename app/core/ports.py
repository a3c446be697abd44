"""What the core needs from the outside; adapters implement these protocols."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from app.core.encoder_spec import EncoderSpec
from app.core.types import (
    ANY_PASSAGE,
    BuildReport,
    CollectionSpec,
    EmbeddedPassage,
    FieldKind,
    FoundByWords,
    IndexedWith,
    LanguageGuess,
    NearestQuery,
    Passage,
    PassageFilter,
    ScoredPassage,
    Served,
    Split,
    StoreHealth,
    VectorArray,
    WordsQuery,
)


class Encoder(Protocol):
    """Turns texts into unit vectors. Synchronous and thread-safe."""

    @property
    def spec(self) -> EncoderSpec:
        """The contract of this encoder: prefixes, dimensions, languages, fingerprint."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> VectorArray:
        """Embed queries.

        Args:
            texts: Raw texts; the encoder adds its query prefix itself.

        Returns:
            float32 of shape (len(texts), dim), finite, every row of Euclidean norm 1.

        Raises:
            UnencodableTextError: The encoder knows no token of a text.
            EncodingError: The encoder failed.
        """
        ...

    def encode_passages(self, texts: Sequence[str]) -> VectorArray:
        """Embed passages; as ``encode_queries``, with the passage prefix."""
        ...

    def close(self) -> None:
        """Let go of the memory that it computes with; it is of no use afterwards."""
        ...


class TokenCounter(Protocol):
    """Counts what an encoder reads."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens the encoder reads of each text, prefixes aside."""
        ...


class ServedEncoder(Encoder, TokenCounter, Protocol):
    """What the service needs of an encoder."""

    @property
    def engine(self) -> str:
        """What computes it, in one word."""
        ...


class LanguageIdentifier(Protocol):
    """Guesses the language of a text."""

    def identify(self, text: str, candidates: Collection[str] | None = None) -> LanguageGuess:
        """Guess the language of one text.

        Args:
            text: Any text, possibly of a few characters.
            candidates: BCP-47 codes to choose from; ``None`` for all that are known.

        Returns:
            The posterior over languages; empty where the text tells nothing.
        """
        ...


class TextSplitter(Protocol):
    """Cuts long texts where they have joints: paragraphs, sentences, words."""

    def split(self, text: str, split: Split) -> list[tuple[int, int]]:
        """Return the pieces of a text that are not blank, as offsets in characters.

        Args:
            text: Any text.
            split: How large pieces may be.

        Returns:
            First character and the one after the last, in the order of the text.
        """
        ...


class PassageWriter(Protocol):
    """What adding and removing passages asks of a store."""

    @property
    def fields(self) -> Mapping[str, FieldKind]:
        """Members of the metadata that filters may read; those of the ``CollectionSpec``."""
        ...

    async def upsert(self, passages: Sequence[EmbeddedPassage], *, durable: bool) -> None:
        """Insert or replace passages by id. All of them are validated before any is written.

        Args:
            passages: What to store.
            durable: Return only once the passages survive loss of power, not only of the process.

        Raises:
            InvalidPassageError: A vector has the wrong size, is not finite or is zero, an id
                occurs twice or is unusable, or metadata is not JSON. Nothing was written.
        """
        ...

    async def delete(self, ids: Collection[str]) -> int:
        """Delete passages; returns how many of them existed."""
        ...

    async def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages that exist, in the order of ``ids``."""
        ...

    async def content_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Return the content hash of every passage that exists; empty where it has none."""
        ...

    async def scan(
        self, *, limit: int, where: PassageFilter = ANY_PASSAGE, after: str | None = None
    ) -> list[Passage]:
        """Return the next eligible passages, in an order of the store that never changes.

        Whoever goes on with the id of the last one until nothing comes meets every passage that
        is there all along exactly once.

        Args:
            limit: How many to return at most; at least 1.
            where: Which passages are eligible.
            after: Id of the passage after which to go on, which may be gone by now.
        """
        ...


class PassageStore(PassageWriter, Protocol):
    """Keeps passages with their vectors and finds the nearest ones.

    Scores are exact cosines whatever index is used. Equal scores are ordered by passage id.
    Filters are those that ``app.core.passages.filters`` makes, for the fields of the collection.
    Every method raises ``StoreUnavailableError`` before ``open`` and after ``close``.
    """

    @property
    def words(self) -> bool:
        """Whether ``search_words`` can be asked."""
        ...

    async def open(self, spec: CollectionSpec) -> None:
        """Load the collection, or create it.

        Fields that were not declared before, or declared as something else, are indexed for the
        passages that are stored already; so are their words, where ``spec`` asks for it first.

        Raises:
            EncoderMismatchError: It was indexed with another encoder; nothing was changed.
            StoreLockedError: Another process has it open.
        """
        ...

    async def close(self) -> None:
        """Make everything durable and let go of the collection; a second call does nothing."""
        ...

    async def delete_where(self, where: PassageFilter, *, expected: int | None = None) -> int:
        """Delete the eligible passages; returns how many they were.

        Args:
            where: Which passages to delete.
            expected: How many they have to be.

        Raises:
            CountMismatchError: They are not ``expected``; nothing was deleted.
        """
        ...

    async def search(self, queries: Sequence[NearestQuery]) -> list[list[ScoredPassage]]:
        """Answer every query; best score first, then by id."""
        ...

    async def search_words(self, queries: Sequence[WordsQuery]) -> list[FoundByWords]:
        """Answer every query with the passages whose words fit it best.

        Raises:
            WordsNotIndexedError: The words of this collection are not indexed.
        """
        ...

    async def count(self, where: PassageFilter = ANY_PASSAGE) -> int:
        """Return the number of eligible passages."""
        ...

    async def languages(self, where: PassageFilter = ANY_PASSAGE) -> Mapping[str, int]:
        """Return the number of eligible passages per language, most frequent first."""
        ...

    async def facets(
        self, field: str, *, limit: int, where: PassageFilter = ANY_PASSAGE
    ) -> Mapping[str | int | bool, int]:
        """Return the number of eligible passages for each value of a field.

        Args:
            field: A declared or built-in field that holds keywords, integers or booleans.
            limit: How many values to return at most.
            where: Which passages are eligible.

        Returns:
            The most frequent values first; of equally frequent ones the smaller first.

        Raises:
            MalformedFilterError: The field is not declared, or holds something else.
        """
        ...

    async def build(self) -> BuildReport:
        """Build the approximate index beside the live collection, then swap it in."""
        ...

    async def health(self) -> StoreHealth:
        """Say which engine runs and how much it holds."""
        ...


class KeptStore(PassageStore, Protocol):
    """A ``PassageStore`` that also gives back vectors, so that passages can move elsewhere."""

    async def embedded(self, ids: Sequence[str]) -> list[EmbeddedPassage]:
        """Return the passages that exist, in the order of ``ids``, as they were stored.

        Vectors are the engine's, normalised once more: equal to those stored up to rounding.
        """
        ...


class Shelf(Protocol):
    """Where the collections of a deployment are: one for every encoder, one of which is served."""

    async def served(self) -> Served | None:
        """Return the collection that is served; ``None`` where none ever was."""
        ...

    async def indexed_with(self, collection: str) -> IndexedWith | None:
        """Return what a collection was indexed with; ``None`` where there is none yet."""
        ...

    async def collection_for(self, encoder_id: str) -> str:
        """Return the collection that holds, or is to hold, the vectors of an encoder."""
        ...

    async def serve(self, served: Served) -> None:
        """Let another collection be the one that is served, atomically and durably."""
        ...

    def store(self, collection: str) -> KeptStore:
        """Return a store over a collection that may not exist yet; it is not open."""
        ...

    async def close(self) -> None:
        """Let go of what all collections share; their stores are closed already."""
        ...
