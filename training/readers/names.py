"""What the names of files and folders say: languages, splits, plain or gzip."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from training.errors import DataError
from training.readers.checks import is_language

# Mr. TyDi and mMARCO write languages out; "dt" is mMARCO's own code for Dutch.
LANGUAGE_NAMES = {
    "arabic": "ar",
    "bengali": "bn",
    "chinese": "zh",
    "dutch": "nl",
    "english": "en",
    "finnish": "fi",
    "french": "fr",
    "german": "de",
    "hindi": "hi",
    "indonesian": "id",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
    "swahili": "sw",
    "telugu": "te",
    "thai": "th",
    "vietnamese": "vi",
}


def language_in(name: str) -> str | None:
    """Return the last word of a name that is a two-letter language code or an English name.

    Longer codes are not looked for: too many English words are one ("dev" is Domung).
    """
    for word in reversed(re.split(r"[._\- ]", name)):
        if word.lower() in LANGUAGE_NAMES:
            return LANGUAGE_NAMES[word.lower()]
        if re.fullmatch(r"[a-z]{2}", word) and is_language(word):
            return word
    return None


def files_named(directory: Path, pattern: str) -> Iterator[tuple[Path, re.Match[str]]]:
    """Yield (file, match) of the files below a directory whose whole name fits, in order.

    A ``.gz`` at the end is not part of the name.
    """
    for path in sorted(directory.rglob("*")):
        match = re.fullmatch(pattern, path.name.removesuffix(".gz"))
        if match and path.is_file():
            yield path, match


def one_file(directory: Path, pattern: str, what: str) -> Path:
    """Return the one file below a directory whose name fits.

    Raises:
        DataError: There is none, or there are several.
    """
    found = [path for path, _ in files_named(directory, pattern)]
    if not found:
        raise DataError(directory, None, f"has no {what} (a file like {pattern})")
    if len(found) > 1:
        names = ", ".join(path.relative_to(directory).as_posix() for path in found[:5])
        raise DataError(directory, None, f"has several files with {what}: {names}")
    return found[0]
