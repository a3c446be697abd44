"""Passages and queries for measurements: any number of them, the same ones every time.

They are cut from the demo corpus: windows of its passages, two of one language joined, so that
tokens, lengths and languages are those of real text, and no two passages are the same. What they
mean is nonsense; nothing here measures how good an answer is.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from app.cli.demonstration.data import DemoCorpus, demo_directory, load_corpus
from app.core.types import Passage

_WINDOW_CHARACTERS = 120
_QUERY_CHARACTERS = 40


@cache
def _demo() -> DemoCorpus:
    return load_corpus(demo_directory(None))


@cache
def _texts() -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for passage in _demo().passages:
        texts.setdefault(passage.language, []).append(passage.text)
    return texts


def _window(text: str, draw: random.Random, characters: int) -> str:
    start = draw.randrange(max(1, len(text) - characters))
    # To the next space, where the script has some, so that most words stay whole.
    space = text.find(" ", start)
    if 0 <= space - start < 20:
        start = space + 1
    return text[start : start + characters].strip()


def passages(count: int) -> Iterator[Passage]:
    """Yield passages."""
    languages = sorted(_texts())
    for number in range(count):
        draw = random.Random(number)
        language = languages[number % len(languages)]
        halves = [
            _window(draw.choice(_texts()[language]), draw, _WINDOW_CHARACTERS) for _ in range(2)
        ]
        yield Passage(
            id=f"p{number}",
            text=f"{halves[0]} {halves[1]} {number}",
            language=language,
            metadata={"shelf": number % 10},
        )


def queries(count: int) -> list[str]:
    """Return different queries in all languages of the demo corpus."""
    draw = random.Random(-1)
    languages = sorted(_texts())
    found: dict[str, None] = {}
    while len(found) < count:
        text = draw.choice(_texts()[languages[len(found) % len(languages)]])
        found[_window(text, draw, _QUERY_CHARACTERS)] = None
    return list(found)


def write(path: Path, count: int) -> None:
    """Write passages as NDJSON."""
    with path.open("w", encoding="utf-8") as file:
        for passage in passages(count):
            row = {
                "id": passage.id,
                "text": passage.text,
                "language": passage.language,
                "metadata": passage.metadata,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def main() -> None:
    """Write passages into a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--passages", type=int, default=30_000)
    given = parser.parse_args()
    write(given.out, given.passages)


if __name__ == "__main__":
    main()
