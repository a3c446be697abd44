"""Preferred languages: weights per language, given or taken from ``Accept-Language``.

A weight is what a relevant passage in that language is worth to the asker: 1 as much as any, 0.4
two fifths of it. Hits are then ordered by weight times probability, the expected worth of showing
them. The probability itself stays what it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from app.core.errors import InvalidInputError
from app.core.languages.codes import normalize_language

ANY_LANGUAGE = "*"
"""Stands for every language that is not listed."""

UNLISTED_WEIGHT = 0.1
"""Weight of languages that are not listed where ``*`` is not listed either."""

MAX_WEIGHTS = 200


class LanguagePreference:
    """Weights of languages.

    A passage has the weight of the listed language that shares most subtags with its own, from
    the left, and says least beyond them: ``pt-BR`` has that of ``pt-BR``, else of ``pt``, else of
    ``pt-PT`` (RFC 4647 calls the first two lookup; the third is kinder than the standard). Of
    equally near ones the greatest weight counts.

    Args:
        weights: BCP-47 tag, in canonical case, or ``*`` to weight.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = {
            tuple(tag.split("-")): weight for tag, weight in weights.items() if tag != ANY_LANGUAGE
        }
        self._unlisted = weights.get(ANY_LANGUAGE, UNLISTED_WEIGHT)
        self._known: dict[str, float] = {}

    def weight(self, language: str) -> float:
        """Return the weight of passages in a language."""
        if language not in self._known:
            self._known[language] = self._nearest(tuple(language.split("-")))
        return self._known[language]

    def _nearest(self, subtags: tuple[str, ...]) -> float:
        near = [
            (shared, shared - len(listed), weight)
            for listed, weight in self._weights.items()
            if (shared := _shared(subtags, listed))
        ]
        return max(near)[2] if near else self._unlisted


def check_weights(weights: Mapping[str, float], *, pointer: str) -> dict[str, float]:
    """Return weights with their tags in canonical case.

    Args:
        weights: As a caller sent them.
        pointer: JSON pointer to them.

    Raises:
        InvalidInputError: There are none or too many, one is not in 0 to 1, all are 0, or a tag
            is not a language tag.
    """
    if not 1 <= len(weights) <= MAX_WEIGHTS:
        raise InvalidInputError(
            f"prefer has {len(weights)} languages; it must have 1 to {MAX_WEIGHTS}.",
            pointer=pointer,
        )
    checked = {}
    for tag, weight in weights.items():
        place = f"{pointer}/{tag.replace('~', '~0').replace('/', '~1')}"
        if not 0.0 <= weight <= 1.0:
            raise InvalidInputError(
                f"The weight of {tag!r} is {weight}; it must be 0 to 1.", pointer=place
            )
        checked[tag if tag == ANY_LANGUAGE else normalize_language(tag, pointer=place)] = weight
    if not any(checked.values()):
        raise InvalidInputError(
            "All weights of prefer are 0, which orders nothing. Give the languages that are wanted "
            "a weight up to 1.",
            pointer=pointer,
        )
    return checked


def accept_language_weights(header: str) -> dict[str, float]:
    """Return the weights that an ``Accept-Language`` header states (RFC 9110, section 12.5.4).

    Parts that are no language range are left out, as the standard advises for preferences that
    cannot be understood; where nothing of use is left, the result is empty.
    """
    weights: dict[str, float] = {}
    for part in header.split(",")[:MAX_WEIGHTS]:
        tag, _, parameter = part.partition(";")
        weight = _quality(parameter)
        try:
            code = tag.strip()
            code = code if code == ANY_LANGUAGE else normalize_language(code)
        except InvalidInputError:
            continue
        if weight is not None:
            weights[code] = max(weight, weights.get(code, 0.0))
    return weights if any(weights.values()) else {}


def _quality(parameter: str) -> float | None:
    if not parameter.strip():
        return 1.0
    name, _, value = parameter.partition("=")
    try:
        quality = float(value.strip())
    except ValueError:
        return None
    usable = name.strip().lower() == "q" and math.isfinite(quality) and 0.0 <= quality <= 1.0
    return quality if usable else None


def _shared(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    shared = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        shared += 1
    return shared
