"""JSON documents in the form of SQuAD, which LAReQA has too: articles, paragraphs, questions.

::

    {"data": [{"title"?, "paragraphs": [{"context", "qas": [
        {"id", "question", "answers": [{"text", "answer_start"}], "is_impossible"?}]}]}]}

The language is given, or stands in the file's name: ``xquad.de.json``,
``dev-context-ar-question-de.json`` (MLQA; there the context and the question have different
languages).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.errors import DataError
from training.readers.checks import check_text
from training.readers.files import JsonObject, Place, read_json_document
from training.readers.judged import JudgedSet, Judgement, TextRecord
from training.readers.names import files_named, language_in


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
    for place, article in members(Place(path), document, "data"):
        title = article.get("title")
        for inner, row in members(place, article, "paragraphs"):
            number += 1
            yield Paragraph(
                place=inner,
                number=number,
                title=title if isinstance(title, str) else "",
                context=check_text(inner, row.get("context"), "the context"),
                language=context_language,
                question_language=question_language,
                row=row,
                questions=list(members(inner, row, "qas")),
            )


def members(
    place: Place, row: Mapping[str, object], name: str
) -> Iterator[tuple[Place, JsonObject]]:
    """Yield the objects of a list, with their places.

    Raises:
        DataError: It is no list of objects.
    """
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
    inner, answer = next(members(place, question, "answers"))
    start = answer.get("answer_start")
    if isinstance(start, bool) or not isinstance(start, int) or not 0 <= start < len(context):
        problem = f"answer_start is {start!r}; the context has {len(context)} characters"
        raise inner.error(problem)
    text = answer.get("text")
    return start, text if isinstance(text, str) else ""


def is_answerable(question: JsonObject) -> bool:
    """Return whether a question has an answer."""
    return question.get("is_impossible") is not True and bool(question.get("answers"))


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


@dataclass(frozen=True, slots=True)
class Answered:
    """A question of a file with what answers it there.

    Attributes:
        place: Where it stands.
        question: Id that its translations share.
        query: Id of the query, in its language.
        passages: Ids of the passages that answer it.
    """

    place: Place
    question: str
    query: str
    passages: tuple[str, ...]


def paragraph_set(
    path: Path,
    files: list[Path],
    *,
    queries: Callable[[Path, Counter[str]], Iterable[TextRecord]],
    passages: Callable[[Path], Iterable[TextRecord]],
    answered: Callable[[Path], Iterable[Answered]],
) -> JudgedSet:
    """Return the set in one or several documents, of which each is in one language.

    Args:
        path: Where it is; its name is the set's.
        files: The documents.
        queries: Reads the queries of one; the counter gets what is left out.
        passages: Reads its passages.
        answered: Reads what answers its questions.
    """
    counts: Counter[str] = Counter()
    return JudgedSet(
        path.name.removesuffix(".gz").removesuffix(".json"),
        path,
        lambda: (record for file in files for record in queries(file, counts)),
        lambda: _across_languages(entry for file in files for entry in answered(file)),
        lambda: (record for file in files for record in passages(file)),
        counts,
    )


def _across_languages(answered: Iterable[Answered]) -> Iterator[Judgement]:
    """Yield for every query what answers any of its translations."""
    asked: dict[str, dict[str, Place]] = {}
    answers: dict[str, set[str]] = {}
    for entry in answered:
        asked.setdefault(entry.question, {})[entry.query] = entry.place
        answers.setdefault(entry.question, set()).update(entry.passages)
    for question, queries in asked.items():
        for query, place in queries.items():
            for passage in sorted(answers[question]):
                yield Judgement(place, query, passage, 1)
