"""SQuAD-form JSON, versions 1.1 and 2: SQuAD, XQuAD, MLQA, and the many sets written like them.

::

    {"data": [{"title"?, "paragraphs": [{"context", "qas": [
        {"id", "question", "answers": [{"text", "answer_start"}], "is_impossible"?}]}]}]}

A question without an answer is counted and left out: no passage is relevant to it. The language is
given, or stands in the file's name: ``xquad.de.json``, ``dev-context-ar-question-de.json`` (MLQA;
there the context and the question have different languages).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from training.errors import DataError
from training.readers.checks import check_text, text_member
from training.readers.files import JsonObject, Place, read_json_document
from training.readers.judged import JudgedSet, Judgement, TextRecord
from training.readers.names import files_named, language_in

LOOKED_FOR = "*.json with data[].paragraphs[].qas[] (SQuAD, XQuAD, MLQA)"
UNANSWERABLE = "unanswerable"
MISPLACED = "answer_not_at_its_offset"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A context with its questions.

    Attributes:
        place: Where it stands.
        number: Number in its file, from 1.
        title: Title of its article, or the empty text.
        context: The text.
        language: BCP-47 code of the context; ``None`` if nothing says it.
        question_language: The same for its questions.
        row: The paragraph as it stands in the file.
        questions: (place, row) of its questions.
    """

    place: Place
    number: int
    title: str
    context: str
    language: str | None
    question_language: str | None
    row: JsonObject
    questions: list[tuple[Place, JsonObject]]


def languages_of(path: Path, language: str | None) -> tuple[str | None, str | None]:
    """Return the languages of a file's contexts and of its questions."""
    match = re.search(r"context-(\w+)-question-(\w+)\.", path.name)
    if match:
        return match.group(1), match.group(2)
    code = language or language_in(path.name.removesuffix(".gz").removesuffix(".json"))
    return code, code


def paragraphs(path: Path, language: str | None) -> Iterator[Paragraph]:
    """Yield the paragraphs of a file.

    Raises:
        DataError: It is not in SQuAD form; the place in the document is named.
    """
    document = read_json_document(path)
    context_language, question_language = languages_of(path, language)
    number = 0
    for place, article in _members(Place(path), document, "data"):
        title = article.get("title")
        for inner, row in _members(place, article, "paragraphs"):
            number += 1
            yield Paragraph(
                place=inner,
                number=number,
                title=title if isinstance(title, str) else "",
                context=check_text(inner, row.get("context"), "the context"),
                language=context_language,
                question_language=question_language,
                row=row,
                questions=list(_members(inner, row, "qas")),
            )


def _members(
    place: Place, row: Mapping[str, object], name: str
) -> Iterator[tuple[Place, JsonObject]]:
    listed = row.get(name)
    if not isinstance(listed, list):
        raise place.error(f"member {name!r} must be a list; this is not SQuAD form")
    for number, member in enumerate(listed):
        where = f"{place.inside}.{name}[{number}]".removeprefix(".")
        inner = Place(place.path, inside=where)
        if not isinstance(member, dict):
            raise inner.error(f"is {type(member).__name__}, not an object")
        yield inner, member


def first_answer(place: Place, question: JsonObject, context: str) -> tuple[int, str]:
    """Return (offset in characters, text) of the first answer, as the file has them.

    Raises:
        DataError: The answer has no offset, or it lies outside the context.
    """
    inner, answer = next(_members(place, question, "answers"))
    start = answer.get("answer_start")
    if isinstance(start, bool) or not isinstance(start, int) or not 0 <= start < len(context):
        problem = f"answer_start is {start!r}; the context has {len(context)} characters"
        raise inner.error(problem)
    text = answer.get("text")
    return start, text if isinstance(text, str) else ""


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


def is_answerable(question: JsonObject) -> bool:
    """Return whether a question has an answer."""
    return question.get("is_impossible") is not True and bool(question.get("answers"))


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


def json_files(path: Path) -> list[Path]:
    """Return a JSON file, or those directly in a directory."""
    if path.is_file():
        return [path] if path.name.removesuffix(".gz").endswith(".json") else []
    return [file for file, _ in files_named(path, r".+\.json") if file.parent == path]


def first_paragraph(files: list[Path]) -> JsonObject | None:
    """Return the first paragraph of the first file; ``None`` if it is not in SQuAD form.

    Raises:
        DataError: The file is not JSON.
    """
    if not files:
        return None
    try:
        return next((paragraph.row for paragraph in paragraphs(files[0], None)), None)
    except DataError:
        read_json_document(files[0])  # a file that is broken is an error, another form is not
        return None


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
    counts: Counter[str] = Counter()
    name = path.name.removesuffix(".gz").removesuffix(".json")
    return JudgedSet(
        name,
        path,
        lambda: (record for file in files for record in _queries(file, language, counts)),
        lambda: _judgements(files, language),
        lambda: (record for file in files for record in _passages(file, language)),
        counts,
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


def _judgements(files: list[Path], language: str | None) -> Iterator[Judgement]:
    asked: dict[str, dict[str, Place]] = {}
    answers: dict[str, set[str]] = {}
    for file in files:
        for paragraph in paragraphs(file, language):
            for place, question in filter(lambda pair: is_answerable(pair[1]), paragraph.questions):
                shared = text_member(place, question, "id")
                asked.setdefault(shared, {})[_query_id(paragraph, place, question)] = place
                answers.setdefault(shared, set()).add(_passage_id(paragraph))
    for shared, queries in asked.items():
        for query, place in queries.items():
            for passage in sorted(answers[shared]):
                yield Judgement(place, query, passage, 1)
