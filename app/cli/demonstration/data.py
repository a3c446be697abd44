"""Where the demo corpus lies, and reading it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.cli.exits import CannotStartError
from app.cli.ingest.passages_file import Rejection, read_passages
from app.core.passages.entries import Document
from app.core.types import Passage
from app.settings import shipped

_PASSAGES = "passages.jsonl"
_QUERIES = "queries.jsonl"
_QRELS = "qrels.tsv"


@dataclass(frozen=True, slots=True)
class DemoQuery:
    """A question of the demo corpus.

    Attributes:
        id: Its identifier in the qrels.
        text: The question.
        language: BCP-47 code.
        answerable: Whether the corpus answers it.
    """

    id: str
    text: str
    language: str
    answerable: bool


@dataclass(frozen=True, slots=True)
class DemoCorpus:
    """The demo corpus.

    Attributes:
        passages: All passages.
        queries: All questions.
        relevant: Query id to the ids of its relevant passages.
    """

    passages: Sequence[Passage]
    queries: Sequence[DemoQuery]
    relevant: Mapping[str, frozenset[str]]


def demo_directory(given: Path | None = None) -> Path:
    """Return the directory of the demo corpus.

    Args:
        given: What the user named; else the ``demo`` that ships with the project.

    Raises:
        CannotStartError: It is not there.
    """
    places = [given] if given is not None else shipped("demo")
    for place in places:
        if (place / _PASSAGES).is_file():
            return place
    raise CannotStartError(
        f"There is no demo corpus in {' or '.join(map(str, places))}. Name the directory that "
        f"holds {_PASSAGES} with --demo-dir; it is part of the repository."
    )


def load_passages(directory: Path) -> list[Passage]:
    """Read the passages of the demo corpus.

    Raises:
        CannotStartError: A line is no passage.
    """
    passages = []
    for entry in read_passages(str(directory / _PASSAGES)):
        if isinstance(entry, Rejection):
            raise CannotStartError(f"{entry.file}:{entry.line}: {entry.reason}")
        if isinstance(entry.entry, Document):
            raise CannotStartError(f"{entry.file}:{entry.line}: the demo corpus is split already.")
        passages.append(entry.entry)
    return passages


def load_corpus(directory: Path) -> DemoCorpus:
    """Read passages, questions and judgements.

    Raises:
        CannotStartError: A file is missing or malformed.
    """
    return DemoCorpus(
        passages=load_passages(directory),
        queries=_read_queries(directory / _QUERIES),
        relevant=_read_qrels(directory / _QRELS),
    )


def _read_queries(path: Path) -> list[DemoQuery]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [DemoQuery(r["id"], r["text"], r["language"], r["answerable"]) for r in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotStartError(f"{path} is not a file of demo questions: {error!r}") from error


def _read_qrels(path: Path) -> dict[str, frozenset[str]]:
    relevant: dict[str, set[str]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                if int(row["grade"]) > 0:
                    relevant.setdefault(row["query_id"], set()).add(row["passage_id"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotStartError(f"{path} is not a qrels file: {error!r}") from error
    return {query: frozenset(passages) for query, passages in relevant.items()}
