"""Translating queries word by word through a lexicon: the simplest way across languages.

A lexicon file has English in every entry, so words of other languages are joined over English.
A word without an entry is kept: names and numbers often need no translation. The translations of
one word share its weight evenly ("balanced translation", Levow et al. 2005), so that a word with
ten translations does not outvote one with a single one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from training.bm25 import WITHOUT_SPACES, words
from training.config_data import LexiconSource
from training.data import read_parallel

ENGLISH = "en"
MOST_TRANSLATIONS = 8
"""Translations of a word that are read; entries list the usual ones first."""


class Lexicon:
    """Words and their translations.

    Args:
        rows: Language to word or phrase; every row is one translation and has English.
    """

    def __init__(self, rows: Iterable[dict[str, str]]) -> None:
        self._from_english: dict[str, dict[str, list[str]]] = defaultdict(dict)
        self._to_english: dict[str, dict[str, list[str]]] = defaultdict(dict)
        for row in rows:
            english = _phrase(row[ENGLISH])
            for language, word in row.items():
                if language != ENGLISH and english and (phrase := _phrase(word)):
                    _note(self._from_english[language], english, phrase)
                    _note(self._to_english[language], phrase, english)
        self._longest = {
            language: max(map(len, known)) for language, known in self._to_english.items()
        }

    def translate(self, query: str, source: str, target: str) -> dict[str, float]:
        """Return the words of a query in another language with their weights.

        Args:
            query: The query.
            source: Its primary language subtag.
            target: Primary language subtag to translate to.

        Returns:
            Word to weight; each word of the query gives a weight of 1, shared by its translations.
        """
        bag: dict[str, float] = defaultdict(float)
        for word in dict.fromkeys(self._cut(query, source)):
            found = self._translations(word, source, target) or [word]
            for translation in found:
                bag[translation] += 1.0 / len(found)
        return dict(bag)

    def _translations(self, word: str, source: str, target: str) -> list[str]:
        english = [word] if source == ENGLISH else self._to_english[source].get(word, [])
        if target == ENGLISH:
            return english
        known = self._from_english[target]
        return list(dict.fromkeys(t for e in english for t in known.get(e, ())))

    def _cut(self, query: str, language: str) -> Iterator[str]:
        """Yield the words of a query; without spaces, the longest entries from left to right."""
        known = self._to_english[language]
        for word in words(query):
            if language in WITHOUT_SPACES:
                yield from _longest_matches(word, known, self._longest.get(language, 1))
            else:
                yield word


def read_lexicon(path: Path, languages: Sequence[str]) -> Lexicon:
    """Read a lexicon in the Wiktionary form, ``{"id", "en", "tr": {language: [words]}}``.

    Args:
        path: JSON lines, gzipped or not.
        languages: Primary subtags of the languages to keep; English is always kept.

    Raises:
        DataError: A line breaks the schema.
    """
    source = LexiconSource(
        path=str(path), licence="not trained on", form="wiktionary", alternatives=MOST_TRANSLATIONS
    )
    wanted = tuple(dict.fromkeys((ENGLISH, *languages)))
    return Lexicon(dict(row.texts) for row in read_parallel(path, source, wanted))


def _longest_matches(text: str, known: dict[str, list[str]], longest: int) -> Iterator[str]:
    start = 0
    while start < len(text):
        ends = range(min(len(text), start + longest), start, -1)
        end = next((end for end in ends if text[start:end] in known), start + 1)
        yield text[start:end]
        start = end


def _phrase(text: str) -> str:
    return " ".join(words(text))


def _note(known: dict[str, list[str]], word: str, translation: str) -> None:
    listed = known.setdefault(word, [])
    if translation not in listed and len(listed) < MOST_TRANSLATIONS:
        listed.append(translation)
