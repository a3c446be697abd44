"""Judgements from files: TREC qrels with a file of queries, or JSON Lines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.cli.exits import UsageError


@dataclass(slots=True)
class JudgedQuery:
    """A query with what is known of passages.

    Attributes:
        text: The query.
        language: BCP-47 tag; ``None`` to identify it.
        labels: Passage id to whether it is relevant.
        places: Passage id to file and line of its label, for errors.
        weights: Passage id to how many unjudged hits its label stands for, where that is not 1.
    """

    text: str
    language: str | None = None
    labels: dict[str, bool] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)

    def add(self, passage: str, *, relevant: bool, place: str) -> None:
        """Keep a label; raises ``UsageError`` where another one contradicts it."""
        known = self.labels.get(passage)
        if known is not None and known != relevant:
            words = {True: "relevant", False: "not relevant"}
            raise UsageError(
                f"{place}: {passage!r} is {words[relevant]} for {self.text!r}, but "
                f"{words[known]} in {self.places[passage]}. Keep one of the two."
            )
        self.labels[passage] = relevant
        self.places.setdefault(passage, place)


class QueryLine(BaseModel):
    """A line of a file of queries."""

    model_config = ConfigDict(extra="ignore")

    id: str
    text: str = Field(min_length=1)
    language: str | None = None


class JudgementLine(BaseModel):
    """A line of a file of judgements; ``weight`` is 1 / the probability of having been judged."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1)
    passage_id: str = Field(min_length=1)
    relevant: bool
    language: str | None = None
    weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)


def read_judgements(path: Path) -> list[JudgedQuery]:
    """Read judgements in JSON Lines; raises ``UsageError`` with file and line."""
    found: dict[str, JudgedQuery] = {}
    for place, line in _lines(path):
        try:
            entry = JudgementLine.model_validate_json(line)
        except ValidationError as error:
            raise UsageError(f"{place}: {_reason(error)}") from error
        query = found.setdefault(same_query(entry.query), JudgedQuery(entry.query))
        query.language = query.language or entry.language
        query.add(entry.passage_id, relevant=entry.relevant, place=place)
        query.weights[entry.passage_id] = entry.weight
    return list(found.values())


def read_qrels(qrels: Path, queries: Path) -> list[JudgedQuery]:
    """Read TREC qrels (``query 0 passage grade``; relevant above 0) and their queries.

    Raises:
        UsageError: A line cannot be read, or names a query that is not there; with file and line.
    """
    asked = {line.id: line for line in read_queries(queries)}
    found: dict[str, JudgedQuery] = {}
    for place, line in _lines(qrels):
        parts = line.split()
        if len(parts) != 4 or not parts[3].lstrip("-").isdigit():
            raise UsageError(
                f"{place}: {line.strip()!r} is no line of TREC qrels, such as 'q1 0 p7 1'."
            )
        query_id, _, passage, grade = parts
        if query_id not in asked:
            raise UsageError(f"{place}: query {query_id!r} is not in {queries}.")
        one = asked[query_id]
        query = found.setdefault(same_query(one.text), JudgedQuery(one.text, one.language))
        query.add(passage, relevant=int(grade) > 0, place=place)
    return list(found.values())


def read_queries(path: Path) -> list[QueryLine]:
    """Read queries in JSON Lines, ``{"id", "text", "language"?}``.

    Raises:
        UsageError: A line cannot be read, or an id comes twice.
    """
    found: dict[str, QueryLine] = {}
    for place, line in _lines(path):
        try:
            query = QueryLine.model_validate_json(line)
        except ValidationError as error:
            raise UsageError(f"{place}: {_reason(error)}") from error
        if query.id in found:
            raise UsageError(f"{place}: query {query.id!r} comes a second time.")
        found[query.id] = query
    return list(found.values())


def same_query(text: str) -> str:
    """Return what two spellings of one query have in common: case and spaces do not count."""
    return " ".join(text.casefold().split())


def fingerprint(queries: list[JudgedQuery]) -> str:
    """Return the sha256 of judgements, whatever files they came in."""
    rows = sorted((same_query(q.text), sorted(q.labels.items())) for q in queries)
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} could not be read: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{path}:{number}", line


def _reason(error: ValidationError) -> str:
    return "; ".join(
        f"{'/'.join(map(str, e['loc'])) or 'line'}: {e['msg']}" for e in error.errors()
    )
