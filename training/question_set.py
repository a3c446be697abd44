"""Builds a retrieval set of sentences from question-passage rows.

Every passage is cut into its sentences, and all sentences are candidates: the neighbours of the
answer are the near misses that a real corpus has. Relevant is

- the sentence that holds the answer, where the row says where the answer starts;
- the first sentence of the passage otherwise (a heading and the text below it). Nobody has said
  whether the other sentences of that passage answer, so they are unjudged for that question.

Rows of one id in a source with ``shared_ids`` are translations of one another: what is relevant
for one is relevant for all.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.core.languages.codes import primary_language
from training.data import PairRow, collapse
from training.data_passage import sentence_spans
from training.retrieval_set import RetrievalSet, SetPassage, SetQuery, assemble

RELEVANT = 1
UNJUDGED = -1


@dataclass(frozen=True, slots=True)
class QuestionSource:
    """Rows of one source and how they belong together."""

    name: str
    rows: Iterable[PairRow]
    shared_ids: bool


@dataclass(slots=True)
class _Building:
    name: str
    queries: dict[str, SetQuery] = field(default_factory=dict)
    passages: dict[str, SetPassage] = field(default_factory=dict)
    group_of: dict[str, str] = field(default_factory=dict)
    judgements: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))


def question_set(source: QuestionSource) -> RetrievalSet:
    """Build the retrieval set of a source.

    Raises:
        DataError: No row was left.
    """
    building = _Building(source.name)
    for row in source.rows:
        _add(building, row, group=row.id if source.shared_ids else f"{row.id}/{row.language}")
    judgements = {
        query_id: building.judgements[group] for query_id, group in building.group_of.items()
    }
    return assemble(source.name, building.queries.values(), building.passages.values(), judgements)


def _add(building: _Building, row: PairRow, *, group: str) -> None:
    sentences = [row.passage[a:b] for a, b in sentence_spans(row.passage, row.language)]
    language = primary_language(row.language)
    document = f"{building.name}/{_digest(row.document)}"
    ids = [_passage_id(building.name, language, sentence) for sentence in sentences]
    for passage_id, sentence in zip(ids, sentences, strict=True):
        passage = SetPassage(passage_id, language, collapse(sentence), document)
        building.passages.setdefault(passage_id, passage)
    query_id = f"{building.name}/{row.id}/{language}"
    building.queries[query_id] = SetQuery(query_id, language, row.question, document)
    building.group_of[query_id] = group
    grades = building.judgements[group]
    answer = _answer(row)
    for number, passage_id in enumerate(ids):
        if number == (answer or 0):
            grades[passage_id] = RELEVANT
        elif answer is None:
            grades.setdefault(passage_id, UNJUDGED)


def _answer(row: PairRow) -> int | None:
    """Return the number of the sentence that holds the answer, ``None`` where nobody said."""
    if row.answer_start is None:
        return None
    spans = sentence_spans(row.passage, row.language)
    return next((k for k, (_, end) in enumerate(spans) if row.answer_start < end), len(spans) - 1)


def _passage_id(name: str, language: str, sentence: str) -> str:
    # The same sentence in two passages is one candidate.
    return f"{name}/{language}/{_digest(collapse(sentence))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
