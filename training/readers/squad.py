"""SQuAD-form JSON, versions 1.1 and 2: SQuAD, XQuAD, MLQA, and the many sets written like them.

A question without an answer is counted and left out: no passage is relevant to it. The form is
described in ``training.readers.paragraphs``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from training.errors import DataError
from training.readers.checks import check_text, text_member
from training.readers.files import JsonObject, Place
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

LOOKED_FOR = "*.json with data[].paragraphs[].qas[] (SQuAD, XQuAD, MLQA)"
UNANSWERABLE = "unanswerable"
MISPLACED = "answer_not_at_its_offset"


def answer_start(place: Place, question: JsonObject, context: str, counts: Counter[str]) -> int:
    """Return where the first answer begins in the context, in characters.

    Where the answer's text does not stand at the offset that the file gives, as in some translated
    sets, its nearest occurrence is taken, and it is counted.

    Raises:
        DataError: As ``first_answer``.
    """
    start, text = first_answer(place, question, context)
    if context.startswith(text, start):
        return start
    counts[MISPLACED] += 1
    found = [match.start() for match in re.finditer(re.escape(text), context)]
    return min(found, key=lambda offset: abs(offset - start), default=start)


def rows(
    path: Path, language: str | None, counts: Counter[str]
) -> Iterator[tuple[Place, JsonObject]]:
    """Yield one question-passage row for every question with an answer.

    Args:
        path: The file.
        language: BCP-47 code of the texts, where the file's name does not say it.
        counts: Gets the questions without an answer and the answers that were misplaced.
    """
    for paragraph in paragraphs(path, language):
        for place, question in paragraph.questions:
            if not is_answerable(question):
                counts[UNANSWERABLE] += 1
                continue
            if paragraph.language != paragraph.question_language:
                raise place.error(
                    "question and context have different languages; train on the file where they "
                    "have the same, and pair them with shared_ids"
                )
            yield (
                place,
                {
                    "id": text_member(place, question, "id"),
                    "lang": paragraph.language,
                    "question": question.get("question"),
                    "passage": paragraph.context,
                    "title": paragraph.title,
                    "answer_start": answer_start(place, question, paragraph.context, counts),
                },
            )


def find(path: Path, *, split: str | None, language: str | None) -> JudgedSet | None:
    """Return the set in a SQuAD-form file, or in a directory of them; else ``None``.

    Candidates are whole contexts. The question ids are shared by translations: a question is
    answered by its own context in every language.

    Raises:
        DataError: A file is not JSON, or a split is asked for.
    """
    files = json_files(path)
    if first_paragraph(files) is None:
        return None
    if split is not None:
        raise DataError(path, None, f"has no split {split!r}; give the file instead")
    return paragraph_set(
        path,
        files,
        queries=lambda file, counts: _queries(file, language, counts),
        passages=lambda file: _passages(file, language),
        answered=lambda file: _answered(file, language),
    )


def _passage_id(paragraph: Paragraph) -> str:
    # MLQA has one context in many files; its text is the only name they share.
    return f"{paragraph.language}_{sha256(paragraph.context.encode()).hexdigest()[:16]}"


def _query_id(paragraph: Paragraph, place: Place, question: JsonObject) -> str:
    return f"{text_member(place, question, 'id')}_{paragraph.question_language}"


def _queries(path: Path, language: str | None, counts: Counter[str]) -> Iterator[TextRecord]:
    for paragraph in paragraphs(path, language):
        for place, question in paragraph.questions:
            if not is_answerable(question):
                counts[UNANSWERABLE] += 1
                continue
            yield TextRecord(
                place,
                _query_id(paragraph, place, question),
                paragraph.question_language,
                check_text(place, question.get("question"), "the question"),
                text_member(place, question, "id"),
            )


def _passages(path: Path, language: str | None) -> Iterator[TextRecord]:
    for paragraph in paragraphs(path, language):
        yield TextRecord(
            paragraph.place,
            _passage_id(paragraph),
            paragraph.language,
            paragraph.context,
            paragraph.title or None,
            paragraph.title,
        )


def _answered(path: Path, language: str | None) -> Iterator[Answered]:
    for paragraph in paragraphs(path, language):
        for place, question in paragraph.questions:
            if is_answerable(question):
                yield Answered(
                    place,
                    text_member(place, question, "id"),
                    _query_id(paragraph, place, question),
                    (_passage_id(paragraph),),
                )
