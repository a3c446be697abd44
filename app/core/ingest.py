"""Adding and removing passages: validate, identify the language, encode, store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from app.core.encoding import EncoderThread
from app.core.errors import InvalidPassageError, PassageNotFoundError
from app.core.languages import normalize_language
from app.core.ports import LanguageIdentifier, PassageStore
from app.core.types import UNDETERMINED, EmbeddedPassage, Passage

MAX_ID_CHARACTERS = 512
MAX_TEXT_CHARACTERS = 50_000
DETECTION_CONFIDENCE = 0.8
"""Below this a passage's detected language is not believed, and stays ``und``."""


class IngestService:
    """Writes to one collection."""

    def __init__(
        self, *, encoder: EncoderThread, store: PassageStore, languages: LanguageIdentifier
    ) -> None:
        self._encoder = encoder
        self._store = store
        self._languages = languages

    async def add(self, passages: Sequence[Passage], *, durable: bool = True) -> int:
        """Insert or replace passages by id; of two with one id the later one is kept.

        Args:
            passages: What to store. Where ``language`` is ``und`` it is identified.
            durable: Return only once they survive loss of power.

        Returns:
            Number of distinct passages stored.

        Raises:
            InvalidPassageError: One of them is not valid; nothing was written.
        """
        valid = [checked(passage) for passage in passages]
        # In a thread: identifying a few hundred languages would hold up the event loop.
        ready = await asyncio.to_thread(self._by_id, valid)
        vectors = await self._encoder.encode_passages([p.text for p in ready.values()])
        embedded = [
            EmbeddedPassage(passage, vector)
            for passage, vector in zip(ready.values(), vectors, strict=True)
        ]
        await self._store.upsert(embedded, durable=durable)
        return len(embedded)

    async def get(self, passage_id: str) -> Passage:
        """Return one passage.

        Raises:
            PassageNotFoundError: There is none with that id.
        """
        found = await self._store.get([passage_id])
        if not found:
            raise PassageNotFoundError(passage_id)
        return found[0]

    async def delete(self, passage_id: str) -> None:
        """Delete one passage; raises as ``get``."""
        if not await self._store.delete([passage_id]):
            raise PassageNotFoundError(passage_id)

    def _by_id(self, passages: Sequence[Passage]) -> dict[str, Passage]:
        return {passage.id: self._with_language(passage) for passage in passages}

    def _with_language(self, passage: Passage) -> Passage:
        if passage.language != UNDETERMINED:
            return passage
        guess = self._languages.identify(passage.text)
        if guess.confidence < DETECTION_CONFIDENCE:
            return passage
        return replace(passage, language=guess.code)


def checked(passage: Passage) -> Passage:
    """Return the passage with its language tag in canonical case.

    Raises:
        InvalidPassageError: Its id or text is empty or too long.
        InvalidInputError: Its language is not a language tag.
    """
    if not 1 <= len(passage.id) <= MAX_ID_CHARACTERS:
        raise InvalidPassageError(
            f"An id must have 1 to {MAX_ID_CHARACTERS} characters; this one has {len(passage.id)}.",
            pointer="/id",
        )
    if not passage.text.strip():
        raise InvalidPassageError(f"Passage {passage.id!r} has no text.", pointer="/text")
    if len(passage.text) > MAX_TEXT_CHARACTERS:
        raise InvalidPassageError(
            f"Passage {passage.id!r} has {len(passage.text)} characters; at most "
            f"{MAX_TEXT_CHARACTERS} are allowed. Split long documents into passages.",
            pointer="/text",
        )
    return replace(passage, language=normalize_language(passage.language))
