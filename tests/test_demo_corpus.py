import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

DEMO = Path(__file__).parent.parent / "demo"
LANGUAGES = {"ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"}
# Thai and Chinese write without spaces: bounds on characters instead of words. Vietnamese
# writes spaces between syllables, so its "words" are shorter.
LENGTHS = dict.fromkeys(LANGUAGES, (35, 95)) | {"vi": (50, 135), "th": (160, 560), "zh": (70, 200)}


def rows(name: str) -> list[dict[str, Any]]:
    lines = (DEMO / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def passages() -> list[dict[str, Any]]:
    return rows("passages.jsonl")


@pytest.fixture(scope="module")
def queries() -> list[dict[str, Any]]:
    return rows("queries.jsonl")


def test_every_topic_has_one_passage_in_every_language(passages):
    topics = Counter(p["parallel_id"] for p in passages)
    assert len(topics) >= 40
    assert {(p["parallel_id"], p["language"]) for p in passages} == {
        (topic, language) for topic in topics for language in LANGUAGES
    }
    assert set(topics.values()) == {len(LANGUAGES)}


def test_passages_are_short_paragraphs(passages):
    def length(p: dict[str, Any]) -> int:
        return len(p["text"]) if p["language"] in {"th", "zh"} else len(p["text"].split())

    outside = [
        (p["id"], length(p))
        for p in passages
        if not LENGTHS[p["language"]][0] <= length(p) <= LENGTHS[p["language"]][1]
    ]
    assert outside == []


def test_every_topic_has_two_questions_in_every_language(passages, queries):
    asked = Counter((q["topic"], q["language"]) for q in queries if q["answerable"])
    assert asked == {(p["parallel_id"], p["language"]): 2 for p in passages}


def test_a_hundred_questions_in_all_languages_have_no_answer(queries):
    unanswerable = Counter(q["language"] for q in queries if not q["answerable"])
    assert set(unanswerable) == LANGUAGES
    assert unanswerable.total() == 100


def test_no_id_and_no_question_occurs_twice(passages, queries):
    assert len({p["id"] for p in passages}) == len(passages)
    assert len({q["id"] for q in queries}) == len(queries)
    assert len({q["text"] for q in queries}) == len(queries)


def test_judgements_name_the_topic_in_every_language_and_nothing_else(passages, queries):
    with (DEMO / "qrels.tsv").open(encoding="utf-8", newline="") as file:
        judged = {
            (r["query_id"], r["passage_id"])
            for r in csv.DictReader(file, delimiter="\t")
            if r["grade"] == "1"
        }
    by_topic: dict[str, list[str]] = {}
    for p in passages:
        by_topic.setdefault(p["parallel_id"], []).append(p["id"])
    assert judged == {
        (q["id"], p) for q in queries if q["answerable"] for p in by_topic[q["topic"]]
    }
