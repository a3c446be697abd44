"""Made-up data at the paths that ``training/configs/study_smoke.toml`` names."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.training.conftest import write_lines

LANGUAGES = ("ar", "de", "en", "es", "ru", "zh")
_LETTERS = {
    "ar": "ابتثجحخد",
    "de": "äöüßklmn",
    "en": "abcdefgh",
    "es": "ñóíúéprs",
    "ru": "абвгдежз",
    "zh": "天地人山水火木金",
}
N_WORDS = 300


@cache
def word(language: str, number: int) -> str:
    chooser = random.Random(f"{language} {number}")
    return "".join(chooser.choices(_LETTERS[language], k=5))


def sentence(language: str, topic: str, length: int) -> str:
    """Equal topics are translations; one in ten words has another translation."""
    chooser = random.Random(topic)
    numbers = [chooser.randrange(N_WORDS) for _ in range(length)]
    noise = random.Random(f"{topic} {language}")
    shown = [noise.randrange(N_WORDS) if noise.random() < 0.1 else n for n in numbers]
    return " ".join(word(language, n) for n in shown) + "."


def question(language: str, topic: str) -> str:
    """Half of the words of a sentence of nine."""
    return " ".join(sentence(language, topic, 9).rstrip(".").split()[::2]) + "?"


def write_study_data(root: Path, *, articles: int = 12, sections: int = 150) -> None:
    """Write parallel text, a lexicon, question-passage pairs and an evaluation set."""
    for name in ("tico19", "omw-lexicon", "course-sections", "xquad-r"):
        (root / name).mkdir(parents=True)
    write_lines(root / "tico19" / "parallel.jsonl.gz", _parallel())
    write_lines(root / "omw-lexicon" / "synsets.jsonl.gz", _synsets())
    write_lines(root / "course-sections" / "qa.jsonl.gz", _sections(sections))
    _write_evaluation_set(root / "xquad-r", articles)


def _parallel() -> Iterator[dict[str, Any]]:
    for n in range(400):
        texts = {language: sentence(language, f"parallel {n}", 8) for language in LANGUAGES}
        yield {"id": f"t{n}", "doc": f"doc{n // 4}", **texts}


def _synsets() -> Iterator[dict[str, Any]]:
    for n in range(N_WORDS):
        yield {"id": f"s{n}", "lemmas": {language: [word(language, n)] for language in LANGUAGES}}


def _sections(sections: int) -> Iterator[dict[str, Any]]:
    for n in range(sections):
        for language in LANGUAGES:
            body = [sentence(language, f"section {n} {k}", 9) for k in range(3)]
            asked = question(language, f"section {n} 0")
            yield {
                "id": f"course/guide{n // 3}#{n}",
                "lang": language,
                "question": asked,
                "passage": " ".join(body),
            }


def _write_evaluation_set(directory: Path, articles: int) -> None:
    topics = [(a, q) for a in range(articles) for q in range(8)]
    write_lines(
        directory / "queries.jsonl",
        (
            {
                "id": f"{a}-{q}-{language}",
                "lang": language,
                "text": question(language, f"fact {a} {q}"),
                "xling_id": f"{a}-{q}",
            }
            for a, q in topics
            for language in LANGUAGES
        ),
    )
    write_lines(
        directory / "passages.jsonl",
        (
            {
                "id": f"{language}-{a}-{q}",
                "lang": language,
                "text": sentence(language, f"fact {a} {q}", 9),
                "context_id": f"{language}-{a}",
                "title": f"Article {a}",
            }
            for a, q in topics
            for language in LANGUAGES
        ),
    )
    lines = ["query_id\tpassage_id\tgrade"]
    lines += [
        f"{a}-{q}-{asked}\t{spoken}-{a}-{q}\t1"
        for a, q in topics
        for asked in LANGUAGES
        for spoken in LANGUAGES
    ]
    (directory / "qrels.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
