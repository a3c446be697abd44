"""Where the words of a query stand in a text: letter for letter, nothing more.

A probability comes from meaning, not from words, so a hit in another language has no highlights,
and a good hit in the same language may have none either. Scripts that put no spaces between
words are matched only where whole runs agree.
"""

from __future__ import annotations

import re

from app.core.languages.letters import marks

MAX_HIGHLIGHTS = 20
"""Most places that are named of one text."""

MAX_WORDS = 32
"""Different words of a query that are looked for, the first ones."""

SEARCHED_CHARACTERS = 10_000
"""How far into a text they are looked for."""


def highlights(query: str, text: str) -> list[tuple[int, int]]:
    """Return where words of the query stand: first character, and the one after the last.

    Upper and lower case are the same; everything else has to agree.
    """
    letter = rf"(?:[^\W_]|[{marks()}])"
    words = list(dict.fromkeys(re.findall(rf"[^\W_]{letter}*", query)))[:MAX_WORDS]
    if not words:
        return []
    longest_first = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    whole = rf"(?<!{letter})(?:{longest_first})(?!{letter})"
    places = re.compile(whole, re.IGNORECASE).finditer(text, 0, SEARCHED_CHARACTERS)
    return [place.span() for place, _ in zip(places, range(MAX_HIGHLIGHTS), strict=False)]
