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
    LanguageGuess,
    NearestQuery,
    Passage,
    PassageFilter,
    ScoredPassage,
    StoreHealth,
    VectorArray,
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


class PassageStore(Protocol):
    """Keeps passages with their vectors and finds the nearest ones.

    Scores are exact cosines whatever index is used. Equal scores are ordered by passage id.
    Every method raises ``StoreUnavailableError`` before ``open`` and after ``close``.
    """

    async def open(self, spec: CollectionSpec) -> None:
        """Load the collection, or create it.

        Raises:
            EncoderMismatchError: It was indexed with another encoder; nothing was changed.
            StoreLockedError: Another process has it open.
        """
        ...

    async def close(self) -> None:
        """Make everything durable and let go of the collection; a second call does nothing."""
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

    async def search(self, queries: Sequence[NearestQuery]) -> list[list[ScoredPassage]]:
        """Answer every query; best score first, then by id."""
        ...

    async def count(self, where: PassageFilter = ANY_PASSAGE) -> int:
        """Return the number of eligible passages."""
        ...

    async def languages(self, where: PassageFilter = ANY_PASSAGE) -> Mapping[str, int]:
        """Return the number of eligible passages per language, most frequent first."""
        ...

    async def build(self) -> BuildReport:
        """Build the approximate index beside the live collection, then swap it in."""
        ...

    async def health(self) -> StoreHealth:
        """Say which engine runs and how much it holds."""
        ...
