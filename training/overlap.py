"""Looks for text of an evaluation set in training data, in the same language.

A model that has seen the passages it is measured on looks better than it is. Three things are
compared: runs of letters that a training row shares with a passage (passages of one document that
follow one another are joined first, as a sentence may be too short to tell), titles, and whole
questions. The evaluation set is held in memory; training rows are streamed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Literal, TypeAlias

from app.core.languages.codes import primary_language
from training.config import Source
from training.ngrams import CodeArray, GramIndex, comparable, letters
from training.overlap_rows import TrainingRow, TrainingText
from training.readers.checks import check_language
from training.readers.judged import JudgedSet, TextRecord

GRAM = 30
EXAMPLES = 5
_BATCH_LETTERS = 1_000_000
_SNIPPET = 160

Kind: TypeAlias = Literal["text", "title", "question"]


@dataclass(frozen=True, slots=True)
class Example:
    """One row that shares something.

    Attributes:
        kind: What is shared.
        row_id: Id of the training row.
        language: Language of its text.
        letters: Number of letters that are shared.
        shared: What is shared, as the training row has it, without regard to case; cut if long.
        evaluation_id: Passage, document or query of the evaluation set.
    """

    kind: Kind
    row_id: str
    language: str
    letters: int
    shared: str
    evaluation_id: str


@dataclass(slots=True)
class SourceOverlap:
    """What a source of training rows shares with an evaluation set; all counts are rows."""

    source: str
    licence: str
    rows: int = 0
    overlapping_rows: int = 0
    text_rows: int = 0
    title_rows: int = 0
    question_rows: int = 0
    longest_letters: int = 0
    examples: list[Example] = field(default_factory=list)

    def add(self, found: Sequence[Example]) -> None:
        """Count a row with everything that it shares; the longest examples of a kind are kept."""
        if not found:
            return
        self.overlapping_rows += 1
        kinds = {example.kind for example in found}
        self.text_rows += "text" in kinds
        self.title_rows += "title" in kinds
        self.question_rows += "question" in kinds
        self.longest_letters = max([self.longest_letters, *(e.letters for e in found)])
        ranked = sorted([*self.examples, *found], key=lambda example: -example.letters)
        by_kind: dict[str, list[Example]] = defaultdict(list)
        for example in ranked:
            by_kind[example.kind].append(example)
        self.examples = [e for examples in by_kind.values() for e in examples[:EXAMPLES]]


class EvaluationTexts:
    """The evaluation side, indexed.

    Args:
        judged: The set.
        gram: Number of letters of a run.

    Raises:
        DataError: A row of it is malformed.
    """

    def __init__(self, judged: JudgedSet, gram: int = GRAM) -> None:
        texts: dict[str, list[CodeArray]] = defaultdict(list)
        self._names: dict[str, list[str]] = defaultdict(list)
        self._titles: dict[str, str] = {}
        self._questions: dict[tuple[str, str], str] = {}
        for language, name, text in self._documents(judged.passages()):
            texts[language].append(letters(text)[0])
            self._names[language].append(name)
        for record in judged.queries():
            key = primary_language(check_language(record.place, record.language))
            self._questions.setdefault((key, _key(record.text)), record.id)
        self._indexes = {lang: GramIndex(listed, gram) for lang, listed in texts.items()}

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of its passages."""
        return tuple(sorted(self._indexes))

    def facts(self) -> dict[str, object]:
        """Return its size, ready for JSON."""
        return {
            "languages": list(self.languages),
            "texts": sum(map(len, self._names.values())),
            "grams": sum(map(len, self._indexes.values())),
            "titles": len(self._titles),
            "questions": len(self._questions),
        }

    def _documents(self, passages: Iterable[TextRecord]) -> Iterator[tuple[str, str, str]]:
        """Yield (language, name, text) of passages; those of one document in a row are one."""

        def key(record: TextRecord) -> tuple[str, str]:
            return check_language(record.place, record.language), record.group or record.id

        for (language, name), records in groupby(passages, key):
            listed = list(records)
            for record in listed:
                title = record.title.replace("_", " ")
                if title.strip():
                    self._titles.setdefault(_key(title), name)
            yield primary_language(language), name, " ".join(record.text for record in listed)

    def shared_by(self, rows: Sequence[TrainingRow], min_letters: int) -> list[list[Example]]:
        """Return for every row what it shares, at least ``min_letters`` letters of text."""
        found: list[list[Example]] = [[*self._equal(row)] for row in rows]
        by_language: dict[str, list[tuple[int, TrainingText]]] = defaultdict(list)
        for number, row in enumerate(rows):
            for text in row.texts:
                by_language[primary_language(text.language)].append((number, text))
        for language, members in by_language.items():
            if language not in self._indexes:
                continue
            codes = [letters(text.text)[0] for _, text in members]
            for which, run in self._indexes[language].longest_runs(codes).items():
                if run.length >= min_letters:
                    number, text = members[which]
                    name = self._names[language][run.text]
                    snippet = _snippet(text.text, run.start, run.length)
                    example = Example("text", text.row_id, text.language, run.length, snippet, name)
                    found[number].append(example)
        return found

    def _equal(self, row: TrainingRow) -> Iterator[Example]:
        """Yield the title and the question if the evaluation set has the same one."""
        first = row.texts[0]
        title, name = _key(row.title), None
        if title and (name := self._titles.get(title)):
            yield Example("title", first.row_id, first.language, len(title), row.title, name)
        if row.question is not None:
            asked = row.question
            key = _key(asked.text)
            if name := self._questions.get((primary_language(asked.language), key)):
                yield Example("question", asked.row_id, asked.language, len(key), asked.text, name)


def _key(text: str) -> str:
    """Return the letters of a text: what two titles or questions must have in common."""
    return letters(text)[0].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def _snippet(text: str, start: int, length: int) -> str:
    _, positions = letters(text)
    shared = comparable(text)[positions[start] : positions[start + length - 1] + 1]
    return " ".join(shared.split())[:_SNIPPET]


def find_overlap(
    source: Source,
    rows: Iterable[TrainingRow],
    evaluation: EvaluationTexts,
    *,
    min_letters: int = GRAM,
) -> SourceOverlap:
    """Compare the rows of a source with an evaluation set.

    Args:
        source: Where the rows are from.
        rows: The rows; read once, a batch of about a million letters is held at a time.
        evaluation: The evaluation set.
        min_letters: Shortest shared run that counts; not shorter than the runs that are indexed.
    """
    result = SourceOverlap(source.label, source.licence)
    for batch in _batches(rows):
        result.rows += len(batch)
        for found in evaluation.shared_by(batch, min_letters):
            result.add(found)
    return result


def _batches(rows: Iterable[TrainingRow]) -> Iterator[list[TrainingRow]]:
    batch: list[TrainingRow] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(len(text.text) for text in row.texts)
        if size >= _BATCH_LETTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def to_json(results: Sequence[SourceOverlap], evaluation: EvaluationTexts) -> dict[str, object]:
    """Return the comparison, ready for JSON."""
    return {
        "evaluation": evaluation.facts(),
        "overlapping_rows": sum(result.overlapping_rows for result in results),
        "sources": [asdict(result) for result in results],
    }
