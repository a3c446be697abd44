"""Queries, passages and judgements as they stand in JSON lines, tables and TREC files.

Forms differ in the names of members and files far more than in kind; what they share is here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from training.readers.checks import check_grade, text_member
from training.readers.files import JsonObject, Place, read_columns, read_json_lines, read_lines
from training.readers.judged import Judgement, TextRecord

TextReader: TypeAlias = Callable[[Path, str | None], Iterator[TextRecord]]

_ID = ("id", "_id", "docid", "query_id", "qid")
_TEXT = ("text", "contents", "query")
_LANGUAGE = ("lang", "language")


def json_texts(path: Path, language: str | None) -> Iterator[TextRecord]:
    """Read queries or passages from JSON lines; the title goes before the text."""
    for number, row in read_json_lines(path):
        place = Place(path, number)
        title = row.get("title")
        record = json_text(place, row, language)
        if isinstance(title, str) and title.strip():
            text = f"{title.strip()} {record.text}".strip()
            yield TextRecord(place, record.id, record.language, text, record.group, title)
        else:
            yield record


def json_text(place: Place, row: JsonObject, language: str | None) -> TextRecord:
    """Return one query or passage; members may have any name that a known form gives them.

    The language is that of the row, of its ``metadata``, or the one that is given.
    """
    metadata = row.get("metadata")
    inner = metadata if isinstance(metadata, dict) else {}
    said = [source[name] for source in (row, inner) for name in _LANGUAGE if source.get(name)]
    code = text_member(place, {"lang": said[0]}, "lang") if said else language
    return TextRecord(place, text_member(place, row, *_ID), code, text_member(place, row, *_TEXT))


def column_texts(path: Path, language: str | None) -> Iterator[TextRecord]:
    """Read queries or passages from lines of id, tab, text."""
    for place, (item_id, text) in read_columns(path, ("id", "text")):
        yield TextRecord(place, item_id, language, text)


_TOP = re.compile(r"<top>", re.IGNORECASE)
_NUMBER = re.compile(r"<num>\s*(?:Number:)?\s*([^\s<]+)", re.IGNORECASE)
_TITLE = re.compile(r"<title>\s*(.*)", re.IGNORECASE)


def topics(path: Path, language: str | None) -> Iterator[TextRecord]:
    """Read queries from a TREC topics file: ``<top>`` blocks, or lines of id, tab, text."""
    first = next((line for _, line in read_lines(path) if line.strip()), "")
    if first.lstrip().lower().startswith("<top>"):
        return _tagged_topics(path, language)
    return column_texts(path, language)


def _tagged_topics(path: Path, language: str | None) -> Iterator[TextRecord]:
    place, number, title = Place(path, 1), "", None
    for line_number, line in read_lines(path):
        if _TOP.search(line):
            place, number, title = Place(path, line_number), "", None
        elif match := _NUMBER.search(line):
            number = match.group(1)
        elif match := _TITLE.search(line):
            title = re.sub(r"</?title>", "", match.group(1)).strip()
        elif title == "" and not line.startswith("<"):
            title = line.strip()  # the title may stand on the line after its tag
        elif "</top>" in line.lower():
            yield _topic(place, number, title, language)


def _topic(place: Place, number: str, title: str | None, language: str | None) -> TextRecord:
    if not number or title is None:
        missing = "<num>" if not number else "<title>"
        raise place.error(f"the topic that begins here has no {missing}")
    return TextRecord(place, number, language, title)


def trec_qrels(path: Path) -> Iterator[Judgement]:
    """Read judgements from TREC lines: query, anything, passage, grade, by white space."""
    names = ("query id", "0", "passage id", "grade")
    for place, (query, _, passage, grade) in read_columns(path, names, separator=None):
        yield Judgement(place, query, passage, check_grade(place, grade))


def headed_qrels(path: Path) -> Iterator[Judgement]:
    """Read judgements from lines of query, passage and grade by tabs, under a header."""
    names = ("query id", "passage id", "grade")
    for place, (query, passage, grade) in read_columns(path, names, header=True):
        yield Judgement(place, query, passage, check_grade(place, grade))


def read_run(path: Path) -> dict[str, list[tuple[str, float]]]:
    """Read a TREC run: query, Q0, passage, rank, score, tag.

    Returns:
        For every query its (passage id, score), by falling score; where scores are equal, in the
        order of the file.

    Raises:
        DataError: A line has not six columns, a score is no finite number, or a passage occurs
            twice for one query.
    """
    names = ("query id", "Q0", "passage id", "rank", "score", "tag")
    run: dict[str, dict[str, float]] = {}
    for place, (query, _, passage, _, score, _) in read_columns(path, names, separator=None):
        hits = run.setdefault(query, {})
        if passage in hits:
            raise place.error(f"passage {passage!r} occurs twice for query {query!r}")
        hits[passage] = _score(place, score)
    return {query: sorted(hits.items(), key=lambda hit: -hit[1]) for query, hits in run.items()}


def _score(place: Place, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise place.error(f"score {text!r} is not a number") from error
    if value - value != 0.0:
        raise place.error(f"score {text!r} is not finite")
    return value


def chained(
    paths: Iterable[Path], read: TextReader, language: str | None
) -> Callable[[], Iterator[TextRecord]]:
    """Return what opens several files as one stream."""
    listed = list(paths)
    return lambda: (record for path in listed for record in read(path, language))
