"""Words as numbers: what hybrid search knows of a text beside its vector.

The same rules for all languages: no list of stop words, no stemming, no dictionary. What a word
weighs in a query is counted in the collection by the store (inverse document frequency); what it
weighs in a passage is the other half of BM25, and is stored with it.

A token id is a checksum of the token, so that it is the same everywhere and for ever. Two tokens
share an id about once in four billion pairs; they then count as one.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from app.core.languages.letters import marks, paired_letters

SATURATION = 1.2
"""How soon more of one word adds no more (``k1`` of BM25)."""

LENGTH_WEIGHT = 0.75
"""How much a long passage counts against its words (``b`` of BM25)."""

AVERAGE_TOKENS = 100
"""Length of a passage that counts neither for nor against it, in tokens.

Fixed: the mean of the collection would make what is stored depend on when it was stored."""


class WordVector(NamedTuple):
    """Weights of the words of a passage.

    Attributes:
        ids: Token ids, ascending, each once; 0 to 2**32 - 1.
        weights: Weight of each; above 0, below ``SATURATION + 1``.
    """

    ids: list[int]
    weights: list[float]


def tokens(text: str) -> list[str]:
    """Return the tokens of a text, in their order.

    A token is a word as Unicode has it, with its combining marks, case folded and in
    compatibility form (NFKC). Scripts that put no spaces between words, and Hangul, whose words
    carry their endings, give every two neighbouring characters instead; a character that stands
    alone is a token.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    found: list[str] = []
    for match in _token().finditer(folded):
        if match["run"]:
            found += _pairs(match["run"])
        else:
            found.append(match[0])
    return found


def passage_words(text: str) -> WordVector:
    """Return what the words of a passage weigh: the term frequency part of BM25."""
    counts = Counter(map(token_id, tokens(text)))
    length = counts.total() / AVERAGE_TOKENS
    norm = SATURATION * (1.0 - LENGTH_WEIGHT + LENGTH_WEIGHT * length)
    ids = sorted(counts)
    return WordVector(ids, [counts[i] * (SATURATION + 1.0) / (counts[i] + norm) for i in ids])


def query_words(text: str) -> tuple[int, ...]:
    """Return the token ids of a query, ascending, each once."""
    return tuple(sorted(set(map(token_id, tokens(text)))))


def token_id(token: str) -> int:
    """Return the id of a token: CRC-32 of its UTF-8 form."""
    return zlib.crc32(token.encode("utf-8", "surrogatepass"))


@cache
def _token() -> re.Pattern[str]:
    mark, paired = marks(), paired_letters()
    run = rf"(?P<run>(?:[{paired}][{mark}]*)+)"
    word = rf"[^\W_{paired}]+(?:[{mark}]+[^\W_{paired}]*)*"
    return re.compile(rf"{run}|{word}")


@cache
def _character() -> re.Pattern[str]:
    return re.compile(rf"[{paired_letters()}][{marks()}]*")


def _pairs(run: str) -> list[str]:
    characters = _character().findall(run)
    if len(characters) == 1:
        return characters
    return [a + b for a, b in pairwise(characters)]
