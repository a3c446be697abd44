"""Judged sets: queries, passages and judgements as streams, whatever form they are stored in.

A reader of a form says how the three streams are read; what must hold between them is checked
here, once for all forms. Passages are streamed: a retrieval set keeps them all, because they are
its pool, but training rows keep only those that are judged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.core.languages.codes import primary_language
from training.errors import DataError
from training.readers.checks import IdRegister, check_language, check_text
from training.readers.files import JsonObject, Place
from training.retrieval_set import RetrievalSet, SetPassage, SetQuery, assemble

EVALUATION_SPLITS = ("test", "dev", "dev.small", "validation", "valid")
MAX_NEGATIVES = 8


@dataclass(frozen=True, slots=True)
class TextRecord:
    """A query or passage as a reader found it, not yet checked.

    Attributes:
        place: Where it stands.
        id: Unique among the queries, or among the passages.
        language: BCP-47 code; ``None`` where the file says none.
        text: What is embedded; the title included where the form's users do so.
        group: Of a query what its translations share, of a passage its document; ``None``: its id.
        title: Title, where there is one; for comparisons only.
    """

    place: Place
    id: str
    language: str | None
    text: str
    group: str | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One line of judgements, not yet checked."""

    place: Place
    query: str
    passage: str
    grade: int


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """A set that was recognised; each stream can be read again and again.

    Attributes:
        name: Name for reports.
        path: Where it is, for errors.
        queries: Opens the queries.
        judgements: Opens the judgements.
        passages: Opens the passages.
        counts: What a reader had to leave out, by reason; filled while reading.
    """

    name: str
    path: Path
    queries: Callable[[], Iterable[TextRecord]]
    judgements: Callable[[], Iterable[Judgement]]
    passages: Callable[[], Iterable[TextRecord]]
    counts: Counter[str]


def choose_split(path: Path, found: Iterable[str], wanted: str | None) -> str:
    """Return the split to read: the wanted one, else the first of ``EVALUATION_SPLITS``.

    Raises:
        DataError: It is not there, or nothing says which of several is meant.
    """
    names = sorted(set(found))
    if names == [""]:
        return ""  # the files do not name a split, so there is one
    if wanted is not None:
        if wanted not in names:
            raise DataError(path, None, f"has no split {wanted!r}; it has {', '.join(names)}")
        return wanted
    if len(names) == 1:
        return names[0]
    choice = next((split for split in EVALUATION_SPLITS if split in names), None)
    if choice is None:
        raise DataError(path, None, f"has several splits, say which: {', '.join(names)}")
    return choice


def merged(name: str, path: Path, parts: Sequence[tuple[str, JudgedSet]]) -> JudgedSet:
    """Return several sets as one; their ids get the prefixes they come with.

    Args:
        name: Name for reports.
        path: Where they are.
        parts: (prefix, set); prefixes keep equal ids of different sets apart.
    """

    def texts(kind: str) -> Iterator[TextRecord]:
        for prefix, part in parts:
            for record in getattr(part, kind)():
                group = None if record.group is None else prefix + record.group
                yield replace(record, id=prefix + record.id, group=group)

    def judgements() -> Iterator[Judgement]:
        for prefix, part in parts:
            for line in part.judgements():
                yield replace(line, query=prefix + line.query, passage=prefix + line.passage)

    return JudgedSet(
        name, path, lambda: texts("queries"), judgements, lambda: texts("passages"), Counter()
    )


def build(judged: JudgedSet) -> RetrievalSet:
    """Read a whole set.

    Raises:
        DataError: A text is empty, a language is missing or unknown, an id stands for two texts,
            a judgement names a query or passage that is not there, or nothing is judged.
    """
    asked = IdRegister("query")
    queries = [
        SetQuery(record.id, primary_language(language), record.text, record.group or record.id)
        for record, language in _checked(judged.queries(), "query", asked)
    ]
    lines = list(judged.judgements())
    there = IdRegister("passage")
    pool = [
        SetPassage(record.id, primary_language(language), record.text, record.group or record.id)
        for record, language in _checked(judged.passages(), "passage", there)
    ]
    grades = _graded(_known(line, asked, there) for line in lines)
    del asked, there  # of a large corpus they are large, and the set makes its own index
    return assemble(judged.name, queries, pool, grades)


def _known(line: Judgement, queries: Container[str], passages: Container[str]) -> Judgement:
    """Return a judgement whose query and passage are there."""
    for kind, name, there in (("query", line.query, queries), ("passage", line.passage, passages)):
        if name not in there:
            raise line.place.error(f"the judgement names unknown {kind} {name!r}; it is missing")
    return line


def _graded(lines: Iterable[Judgement]) -> dict[str, dict[str, int]]:
    """Return query id to passage id to grade; a repeated line must say the same."""
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for line in lines:
        known = grades[line.query].setdefault(line.passage, line.grade)
        if known != line.grade:
            raise line.place.error(
                f"query {line.query!r} and passage {line.passage!r} have grade {line.grade}, "
                f"but grade {known} on an earlier line"
            )
    return grades


def _checked(
    records: Iterable[TextRecord], kind: str, register: IdRegister
) -> Iterator[tuple[TextRecord, str]]:
    """Yield (record, language) of what has a text and a language; equal repetitions are left out.

    Language and text together are what an id stands for.
    """
    for record in records:
        check_text(record.place, record.text, f"the text of {kind} {record.id!r}")
        language = check_language(record.place, record.language)
        if register.add(record.place, record.id, f"{language}\t{record.text}"):
            yield record, language


def training_rows(judged: JudgedSet) -> Iterator[tuple[Place, JsonObject]]:
    """Yield one question-passage row for every relevant passage of every query.

    Passages of grade 0 are the negatives of their query, at most ``MAX_NEGATIVES`` of them.

    Raises:
        DataError: As ``build``.
    """
    lines = list(judged.judgements())
    _graded(lines)
    texts = _judged_passages(judged, {line.passage for line in lines})
    asked = IdRegister("query")
    questions = {r.id: (r, lang) for r, lang in _checked(judged.queries(), "query", asked)}
    negatives: dict[str, list[str]] = defaultdict(list)
    relevant: list[Judgement] = []
    for line in lines:
        _known(line, questions, texts)
        if line.grade > 0:
            relevant.append(line)
        elif line.grade == 0 and len(negatives[line.query]) < MAX_NEGATIVES:
            negatives[line.query].append(texts[line.passage].text)
    for line in relevant:
        question, language = questions[line.query]
        passage = texts[line.passage]
        yield (
            line.place,
            {
                "id": line.query,
                "lang": language,
                "question": question.text,
                "passage": passage.text,
                "title": passage.title,
                "doc": passage.group or passage.id,
                "negatives": negatives[line.query],
            },
        )


def _judged_passages(judged: JudgedSet, wanted: set[str]) -> dict[str, TextRecord]:
    """Return the judged passages by id, of a corpus that is read once and not kept."""
    register = IdRegister("passage")
    records = (record for record in judged.passages() if record.id in wanted)
    return {record.id: record for record, _ in _checked(records, "passage", register)}
