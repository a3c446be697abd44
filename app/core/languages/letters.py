"""Character classes that the standard library's regular expressions lack."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache

# Beyond the last mark that belongs to a script there are only ornaments and selectors.
_LAST_MARK = 0x1E94A

# Words of Korean are told apart by spaces, but carry their endings: pairs find more of them.
_PAIRED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # Han: radicals
    (0x3005, 0x3007),  # Han: iteration mark, zero
    (0x3021, 0x3029),  # Han: numerals
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana: small letters
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),  # Han
    (0xA9E0, 0xA9FE),  # Myanmar
    (0xAA60, 0xAA7F),  # Myanmar
    (0xAC00, 0xD7A3),  # Hangul
    (0xF900, 0xFAFF),  # Han: compatibility forms
    (0x20000, 0x323AF),  # Han
)


@cache
def marks() -> str:
    """Return the combining marks as ranges of a character class.

    The standard library counts none of them to a word, so that its words of Devanagari, and of
    any script in decomposed form, end in the middle.
    """
    return _ranges(c for c in range(_LAST_MARK + 1) if unicodedata.category(chr(c))[0] == "M")


@cache
def paired_letters() -> str:
    """Return letters and digits of scripts whose words spaces do not tell, as ``marks`` does."""
    codes = (code for first, last in _PAIRED for code in range(first, last + 1))
    return _ranges(code for code in codes if chr(code).isalnum())


def _ranges(codes: Iterable[int]) -> str:
    known = set(codes)
    firsts = sorted(c for c in known if c - 1 not in known)
    lasts = sorted(c for c in known if c + 1 not in known)
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(firsts, lasts, strict=True))
