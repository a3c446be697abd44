"""Small folders in the forms in which retrieval sets are published."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

QUERIES = {"q1": "who wrote it?", "q2": "when was it?"}
PASSAGES = {"7#0": ("Ada", "She wrote it."), "7#1": ("Ada", "In 1843."), "8#0": ("Bob", "He read.")}
GRADES = [("q1", "7#0", 1), ("q1", "8#0", 0), ("q2", "7#1", 1)]


def write(path: Path, text: str) -> Path:
    """Write a text, gzip where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def lines(rows: Any) -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def tabs(rows: Any) -> str:
    """Return rows as lines of tab-separated columns."""
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def trec(grades: Any = GRADES) -> str:
    """Return judgements in TREC form."""
    return "".join(f"{query} Q0 {passage} {grade}\n" for query, passage, grade in grades)


def beir(directory: Path, **extra: Any) -> Path:
    """Write a BEIR folder; ``extra`` members are added to every row."""
    rows = [{"_id": k, "title": t, "text": x, **extra} for k, (t, x) in PASSAGES.items()]
    write(directory / "corpus.jsonl", lines(rows))
    asked = [{"_id": k, "text": x, "metadata": {}, **extra} for k, x in QUERIES.items()]
    write(directory / "queries.jsonl.gz", lines(asked))
    head = "query-id\tcorpus-id\tscore\n"
    write(directory / "qrels/test.tsv", head + tabs(GRADES))
    write(directory / "qrels/train.tsv", head + tabs(GRADES[:2]))
    return directory


def miracl(directory: Path, code: str = "ar") -> Path:
    """Write topics, judgements and a corpus of MIRACL in one language."""
    home = directory / f"miracl-v1.0-{code}"
    for split in ("dev", "train"):
        name = f"miracl-v1.0-{code}-{split}.tsv"
        write(home / "topics" / f"topics.{name}", tabs(QUERIES.items()))
        write(home / "qrels" / f"qrels.{name}", trec().replace(" ", "\t"))
    for number, (item, (title, text)) in enumerate(PASSAGES.items()):
        row = {"docid": item, "title": title, "text": text}
        corpus = directory / f"miracl-corpus-v1.0-{code}"
        write(corpus / f"docs-{number}.jsonl.gz", lines([row]))
    return directory


def mr_tydi(directory: Path) -> Path:
    """Write Mr. TyDi in one language."""
    home = directory / "mrtydi-v1.1-finnish"
    for split in ("dev", "train"):
        write(home / f"ir-format-data/topics.{split}.txt", tabs(QUERIES.items()))
        write(home / f"ir-format-data/qrels.{split}.txt", trec())
    rows = [{"docid": k, "title": t, "text": x} for k, (t, x) in PASSAGES.items()]
    write(home / "corpus.jsonl.gz", lines(rows))
    return home


TOPICS = """
<top>
<num> Number: q1
<title> who wrote it?
<desc> Description:
Some more words.
</top>

<top>
<num> q2 </num>
<title>
when was it?
</top>
"""


def trec_folder(directory: Path) -> Path:
    """Write TREC topics with tags, judgements and a collection by tabs."""
    write(directory / "topics.txt", TOPICS)
    write(directory / "qrels.txt", trec())
    write(directory / "collection.tsv", tabs((k, x) for k, (_, x) in PASSAGES.items()))
    return directory


def mmarco(directory: Path) -> Path:
    """Write two languages of mMARCO, with judgements for ``dev`` and triples for ``train``."""
    for name in ("german", "portuguese"):
        collection = [(k, f"{x} {name}") for k, (_, x) in PASSAGES.items()]
        write(directory / f"collections/{name}_collection.tsv", tabs(collection))
        for split in ("dev.small", "train"):
            path = directory / f"queries/{name}_queries.{split}.tsv"
            write(path, tabs(QUERIES.items()))
    write(directory / "qrels.dev.small.tsv", trec().replace(" ", "\t"))
    triples = [("q1", "7#0", "8#0"), ("q1", "7#0", "7#1"), ("q2", "7#1", "8#0")]
    write(directory / "triples.train.ids.small.tsv", tabs(triples))
    return directory


CONTEXT = "Ada lived in London. She wrote the first program in 1843."


def squad(directory: Path, code: str = "en", context: str = CONTEXT, answer: str = "1843") -> Path:
    """Write a SQuAD-form file with a question, and one that nothing answers."""
    asked = [
        {
            "id": "s1",
            "question": f"When? {code}",
            "answers": [{"text": answer, "answer_start": context.index(answer)}],
        },
        {"id": "s2", "question": f"Why? {code}", "answers": [], "is_impossible": True},
    ]
    paragraph = {"context": context, "qas": asked}
    document = {"version": "2.0", "data": [{"title": "Ada", "paragraphs": [paragraph]}]}
    return write(directory / f"set.{code}.json", json.dumps(document))


def lareqa(directory: Path) -> Path:
    """Write English and German in the form of LAReQA; a sentence of the English one occurs twice.

    The second paragraph has no question, the third one question outside of every sentence.
    """
    english = "It rains. Ada wrote it. It rains."
    german = "Es regnet. Ada schrieb es."
    for code, context, answer in (("en", english, "rains"), ("de", german, "schrieb")):
        breaks = _breaks(context)
        if code == "en":
            # As in the published files: breaks leave out the blanks between sentences.
            assert breaks == [[0, 9], [10, 23], [24, 33]]
        first = {
            "context": context,
            "sentence_breaks": breaks,
            "sentences": [context[a:b] for a, b in breaks],
            "qas": [_asked("x1", context.index(answer), answer)],
        }
        empty = {"context": "No question here.", "sentence_breaks": [[0, 17]], "qas": []}
        lost = {
            "context": "A b.  C d.",
            "sentence_breaks": [[0, 4], [6, 10]],
            "qas": [_asked("x2", 5, " ")],
        }
        document = {"data": [{"title": "T", "paragraphs": [first, empty, lost]}]}
        write(directory / f"{code}.json", json.dumps(document))
    return directory


def _asked(item: str, start: int, answer: str) -> dict[str, Any]:
    answers = [{"text": answer, "answer_start": start}]
    return {"id": item, "question": f"question {item}", "answers": answers}


def _breaks(context: str) -> list[list[int]]:
    breaks, start = [], 0
    for sentence in context.split(". "):
        text = sentence if sentence.endswith(".") else f"{sentence}."
        breaks.append([start, start + len(text)])
        start += len(text) + 1
    return breaks
