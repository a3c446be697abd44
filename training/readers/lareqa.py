"""LAReQA as it is published: XQuAD-R and MLQA-R, one SQuAD-form JSON file a language.

Paragraphs also have ``sentence_breaks``: [start, end] of every sentence, in characters. The rules
are those of the LAReQA evaluation (Roy et al. 2020, arXiv:2004.05484; the code stands in XTREME's
repository as ``utils_lareqa.py``): candidates are the sentences of all paragraphs that have a
question; relevant, in every language that has the question, are the sentences that read like the
one in which the answer starts. The n-th paragraph of ``de.json`` is ``de_n``, its first sentence
``de_n_0``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.errors import DataError
from training.readers.checks import text_member
from training.readers.files import Place
from training.readers.judged import JudgedSet, TextRecord
from training.readers.paragraphs import (
    Answered,
    Paragraph,
    first_answer,
    first_paragraph,
    is_answerable,
    json_files,
    paragraph_set,
    paragraphs,
)

LOOKED_FOR = "*.json with data[].paragraphs[].sentence_breaks (LAReQA)"
NO_SENTENCE = "answer_in_no_sentence"

_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Question:
    """A question that is judged, with the numbers of its relevant sentences."""

    place: Place
    id: str
    text: str
    relevant: tuple[int, ...]


def find(path: Path, *, split: str | None, language: str | None) -> JudgedSet | None:
    """Return the set in a directory of LAReQA files, or in one of them; else ``None``.

    Raises:
        DataError: A file is not JSON, or a split is asked for.
    """
    files = json_files(path)
    first = first_paragraph(files)
    if first is None or "sentence_breaks" not in first:
        return None
    if split is not None:
        raise DataError(path, None, f"has no split {split!r}; sets of this form are not split")
    return paragraph_set(
        path,
        files,
        queries=lambda file, counts: _queries(file, language, counts),
        passages=lambda file: _passages(file, language),
        answered=lambda file: _answered(file, language),
    )


def _spans(paragraph: Paragraph) -> list[_Span]:
    breaks = paragraph.row.get("sentence_breaks")
    if not isinstance(breaks, list):
        raise paragraph.place.error("member 'sentence_breaks' must be a list of [start, end]")
    return [_span(paragraph, number, span) for number, span in enumerate(breaks)]


def _span(paragraph: Paragraph, number: int, span: object) -> _Span:
    match span:
        case [int(start), int(end)] if 0 <= start < end <= len(paragraph.context):
            return start, end
    length = len(paragraph.context)
    problem = f"sentence_breaks[{number}] is {span!r}; the context has {length} characters"
    raise paragraph.place.error(problem)


def _questions(
    paragraph: Paragraph, spans: list[_Span], counts: Counter[str]
) -> Iterator[_Question]:
    sentences = [paragraph.context[start:end] for start, end in spans]
    for place, question in paragraph.questions:
        if not is_answerable(question):
            continue
        # As published, even where the answer's text stands elsewhere: that is the protocol.
        focus, _ = first_answer(place, question, paragraph.context)
        holder = next((k for k, (start, end) in enumerate(spans) if start <= focus < end), None)
        if holder is None:
            counts[NO_SENTENCE] += 1
            continue
        yield _Question(
            place,
            text_member(place, question, "id"),
            text_member(place, question, "question"),
            tuple(k for k, text in enumerate(sentences) if text == sentences[holder]),
        )


def _judged(
    path: Path, language: str | None, counts: Counter[str]
) -> Iterator[tuple[Paragraph, list[_Span], list[_Question]]]:
    """Yield the paragraphs that have a judged question."""
    for paragraph in paragraphs(path, language):
        spans = _spans(paragraph)
        questions = list(_questions(paragraph, spans, counts))
        if questions:
            yield paragraph, spans, questions


def _queries(path: Path, language: str | None, counts: Counter[str]) -> Iterator[TextRecord]:
    for paragraph, _, questions in _judged(path, language, counts):
        code = paragraph.language
        for question in questions:
            yield TextRecord(
                question.place, f"{question.id}_{code}", code, question.text, question.id
            )


def _passages(path: Path, language: str | None) -> Iterator[TextRecord]:
    for paragraph, spans, _ in _judged(path, language, Counter()):
        context_id = f"{paragraph.language}_{paragraph.number}"
        for number, (start, end) in enumerate(spans):
            yield TextRecord(
                paragraph.place,
                f"{context_id}_{number}",
                paragraph.language,
                paragraph.context[start:end],
                context_id,
                paragraph.title,
            )


def _answered(path: Path, language: str | None) -> Iterator[Answered]:
    for paragraph, _, questions in _judged(path, language, Counter()):
        code = paragraph.language
        for question in questions:
            passages = (f"{code}_{paragraph.number}_{number}" for number in question.relevant)
            yield Answered(question.place, question.id, f"{question.id}_{code}", tuple(passages))
