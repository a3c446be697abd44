"""Language codes: BCP-47 tags, as short as they can be told apart by the encoder."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from app.core.errors import InvalidInputError
from app.core.types import UNDETERMINED, LanguageGuess

Relation = Literal["same", "cross"]

_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*\Z")


def normalize_language(tag: str, *, pointer: str = "/language") -> str:
    """Return a language tag in canonical case: ``ZH-hant`` becomes ``zh-Hant``.

    Args:
        tag: A BCP-47 tag, or ``und``.
        pointer: JSON pointer that an error names.

    Raises:
        InvalidInputError: It does not look like a language tag.
    """
    if not _TAG.match(tag):
        raise InvalidInputError(
            f"{tag!r} is not a language tag. Use BCP-47, for example 'de', 'zh' or 'pt-BR', "
            f"or '{UNDETERMINED}' where the language is not known.",
            pointer=pointer,
        )
    primary, *subtags = tag.split("-")
    return "-".join([primary.lower(), *map(_subtag_case, subtags)])


@lru_cache(maxsize=1024)
def primary_language(tag: str) -> str:
    """Return the primary subtag: languages agree when these agree (``pt-BR`` and ``pt``)."""
    return tag.split("-", 1)[0].lower()


def relation_of(query_language: str, passage_language: str) -> Relation:
    """Return ``same`` where the most likely languages agree; ``cross`` where they do not.

    A language that is not known agrees with none. This is coarser than ``probability_source``:
    nearly every identified language is a little uncertain, and a third value would hold most hits.

    Args:
        query_language: BCP-47 tag, ``und`` where it is not known.
        passage_language: The same of the passage.
    """
    language = primary_language(query_language)
    agree = language == primary_language(passage_language) and language != UNDETERMINED
    return "same" if agree else "cross"


def declared_language(tag: str, *, pointer: str) -> LanguageGuess:
    """Return what a caller's tag says about the language of a text; ``und`` says nothing.

    Args:
        tag: BCP-47.
        pointer: JSON pointer to the tag, for the error.

    Raises:
        InvalidInputError: It is not a tag.
    """
    code = normalize_language(tag, pointer=pointer)
    if code == UNDETERMINED:
        return LanguageGuess(posterior={}, source="unknown")
    return LanguageGuess(posterior={code: 1.0}, source="declared")


def _subtag_case(subtag: str) -> str:
    if len(subtag) == 4 and subtag.isalpha():
        return subtag.title()  # a script: Hant, Latn
    if len(subtag) == 2:
        return subtag.upper()  # a region: BR, CN
    return subtag.lower()
