"""Queries that are written unlike the labelled ones: in another script, or in two languages.

Calibrators are fitted on questions in the script of their language. For "mera phone charge nahi
ho raha" or "मेरा phone charge नहीं हो रहा" the language may be known, but not what a calibrator for
it would say: such queries go to the pooled head, which looks at no language. Where nobody says
what language some words in Latin letters are in, and the guess is not sure, it may be such a query:
docs/decisions/0007-undeclared-romanised-queries.md measures that.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from app.core.languages.codes import primary_language
from app.core.types import LanguageGuess

_OTHER_SCRIPTS = (
    "am ar as azb be bg bn bo ckb dv el fa gu he hi hy ja ka km kn ko ky lo mai mk ml mn mr my "
    "mzn ne or pa pnb ps ru sa sd si ta te tg th ti ug uk ur yi zh"
)
_NEVER_LATIN = frozenset(_OTHER_SCRIPTS.split())
"""Languages that labelled questions are never written in Latin letters in."""

_READ_CHARACTERS = 1000
_WORD = re.compile(r"[^\W\d_]+")

MIXED_WORDS = 2
MIXED_SHARE = 0.25
"""So many lower-case Latin words, and such a share of all words beside another script, are taken
for a second language. Names, brands and abbreviations have capitals and do not count."""


SURE = 0.7
"""A guess of the language of a text in Latin letters that is less sure is taken for none ..."""

ENOUGH_WORDS = 4
"""... where the text has so many words: of fewer hardly any guess is sure, in any language."""

_RELATIVES = ("id jv min ms su", "da nn no sv", "bs hr sh sr", "cs sk")
_FAMILY = {language: family for family in _RELATIVES for language in family.split()}
"""Languages so close that a short text of one is shared out among them; a text that is in none
of the languages it may be taken for is shared out among strangers."""


def known_posterior(text: str, guess: LanguageGuess) -> dict[str, float]:
    """Return the part of a posterior that a calibrator can speak for.

    Args:
        text: The query.
        guess: What is believed about its language.

    Returns:
        Primary subtag to probability; what is missing to 1 belongs to the pooled head. Empty for
        a mixed text, and for some words in Latin letters whose language is guessed, not known;
        without the languages that have another script where the text is in Latin letters; without
        romanised variants (``hi-Latn``).
    """
    posterior = guess.posterior
    latin, other = _words(text)
    if other and _is_mixed(latin, other):
        return {}
    if not other and len(latin) >= ENOUGH_WORDS and is_unsure(guess):
        return {}
    merged: dict[str, float] = {}
    for tag, probability in posterior.items():
        language = primary_language(tag)
        if language in _NEVER_LATIN and ((latin and not other) or "Latn" in tag.split("-")):
            continue
        merged[language] = merged.get(language, 0.0) + probability
    return merged


def is_unsure(guess: LanguageGuess) -> bool:
    """Return whether a language was guessed, but neither it nor its relatives are likely."""
    if guess.source != "detected":
        return False
    families: dict[str, float] = {}
    for tag, probability in guess.posterior.items():
        language = primary_language(tag)
        family = _FAMILY.get(language, language)
        families[family] = families.get(family, 0.0) + probability
    return max(families.values(), default=0.0) < SURE


def _words(text: str) -> tuple[list[str], list[str]]:
    """Return the words in Latin letters, and those in others."""
    latin: list[str] = []
    other: list[str] = []
    for word in _WORD.findall(text[:_READ_CHARACTERS]):
        (latin if _is_latin(word[0]) else other).append(word)
    return latin, other


@lru_cache(maxsize=4096)
def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(("LATIN", "FULLWIDTH LATIN"))


def _is_mixed(latin: list[str], other: list[str]) -> bool:
    foreign = sum(word.islower() for word in latin)
    return foreign >= MIXED_WORDS and foreign >= MIXED_SHARE * (len(latin) + len(other))
