"""What callers hand in, and what becomes of it: passages, and documents that are split."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from app.core.errors import InvalidInputError, InvalidPassageError
from app.core.languages.codes import normalize_language
from app.core.types import Passage, Split

MAX_ID_CHARACTERS = 512
MAX_TEXT_CHARACTERS = 50_000
MAX_DOCUMENT_CHARACTERS = 1_000_000
"""Longest text that is split."""

MIN_PIECE = {"max_characters": 100, "max_tokens": 16}
"""Smallest pieces that a text is split into: so a text has no more pieces than can be stored."""

Status = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class Document:
    """A long text to be stored in pieces: ``id#1``, ``id#2`` and so on.

    Attributes:
        passage: What every piece has but for its text.
        split: How to cut the text.
    """

    passage: Passage
    split: Split


Entry: TypeAlias = Passage | Document


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of an entry.

    Attributes:
        id: Its id.
        status: ``unchanged`` where all of it was there already; nothing was written then.
        language: Language that the passage was stored with; ``None`` where nothing was written,
            and for a document, whose pieces may differ.
        pieces: Number of passages that a document was split into; ``None`` for a passage.
    """

    id: str
    status: Status
    language: str | None = None
    pieces: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry that was not stored, and why."""

    id: str
    error: InvalidInputError


def content_hash(passage: Passage) -> str:
    """Return 128 bits in hexadecimal that change with anything but the id of a passage."""
    content = [
        passage.text,
        passage.language,
        passage.parallel_id,
        passage.metadata,
        passage.document_id,
        passage.span,
    ]
    # What is no JSON is refused later, with a better message than a failure here would give.
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def checked(passage: Passage, *, max_characters: int = MAX_TEXT_CHARACTERS) -> Passage:
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
    if len(passage.text) > max_characters:
        raise InvalidPassageError(
            f"Passage {passage.id!r} has {len(passage.text)} characters; at most "
            f"{max_characters} are allowed. Split long documents into passages.",
            pointer="/text",
        )
    return replace(passage, language=normalize_language(passage.language))


def check_split(split: Split) -> None:
    """Check how a document is to be cut.

    Raises:
        InvalidPassageError: Not exactly one size is given, or one is out of range.
    """
    sizes = {"max_characters": split.max_characters, "max_tokens": split.max_tokens}
    given = {name: size for name, size in sizes.items() if size is not None}
    if len(given) != 1:
        raise InvalidPassageError(
            "split takes exactly one of max_characters and max_tokens.", pointer="/split"
        )
    [(name, size)] = given.items()
    if size < MIN_PIECE[name]:
        raise InvalidPassageError(
            f"{name} is {size}; it must be at least {MIN_PIECE[name]}.", pointer=f"/split/{name}"
        )
    if not 0 <= split.overlap <= size // 2:
        raise InvalidPassageError(
            f"overlap is {split.overlap}; it must be 0 to {size // 2}, half of {name}.",
            pointer="/split/overlap",
        )


def id_of(entry: Entry) -> str:
    """Return the id that an entry came with."""
    return entry.passage.id if isinstance(entry, Document) else entry.id
