"""Turns rows into pairs and parallel rows; refuses, with file and line, what does not fit.

``training.readers`` knows the forms they come in. Nothing here knows how rows become batches.
Three schemas:

* question-passage: ``{id, lang, question, passage, title?, answer?, answer_start?, negatives?}``;
  ``negatives`` are texts that look like the answer and are none; ``generic_heading: true`` says
  that the question is a heading like "Summary", which only its title makes a question;
* parallel text: ``{id, doc?, "<language>": text, ...}``, Indonesian under ``ind``, because ``id``
  is the row's;
* lexicon: see ``LexiconSource``.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.config import LexiconSource, PairSource, ParallelSource, Source
from training.readers.checks import IdRegister, check_language, check_text, text_member
from training.readers.files import JsonObject, Place
from training.readers.files import read_json_lines as read_json_lines  # part of this interface
from training.readers.pairs import pair_rows, parallel_rows

INDONESIAN_KEY = "ind"
INDONESIAN = "id"


@dataclass(frozen=True, slots=True)
class PairRow:
    """One question with the passage that answers it.

    Attributes:
        id: Row id; shared by translations where the source says so.
        language: BCP-47 code.
        question: The question, cleaned.
        passage: The passage as it stands in the file, so that ``answer_start`` is right.
        answer_start: Offset of the answer in ``passage``, in characters; ``None`` if unknown.
        document: What the row was written about; held out whole or not at all.
        negatives: Passages in the row's language that look like an answer and are none.
        title: Title of the passage, or the empty text.
    """

    id: str
    language: str
    question: str
    passage: str
    answer_start: int | None
    document: str
    negatives: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class ParallelRow:
    """One text in two or more languages; ``texts`` is keyed by BCP-47 code, cleaned."""

    id: str
    document: str
    texts: Mapping[str, str]


def collapse(text: str) -> str:
    """Return the text with every run of white space as one space, and none at the ends."""
    return " ".join(text.split())


def unit_hash(key: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the key (first 8 bytes of sha256)."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2.0**64


def is_held_out(document: str, share: float) -> bool:
    """Return whether a document is kept out of training.

    It depends on the document's name alone, so that a document that occurs in several sources is
    held out in all of them, and adding data never moves one from one side to the other.
    """
    return unit_hash(f"held-out:{document}") < share


def fingerprint(path: Path) -> str:
    """Return the sha256 of a file's bytes, as hex digits; of a directory, over all its files."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        names = (f"{file.relative_to(path).as_posix()}\t{fingerprint(file)}\n" for file in files)
        return hashlib.sha256("".join(names).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class _Line:
    """One row with its place, for errors that say where."""

    place: Place
    row: JsonObject

    def text(self, key: str) -> str:
        """Return a member that must be text, and not empty."""
        return check_text(self.place, self.row.get(key), f"member {key!r}")

    def optional_text(self, key: str) -> str:
        """Return a member that may be missing or empty; the empty text then."""
        value = self.row.get(key)
        return self.text(key) if value is not None and value != "" else ""

    def id(self) -> str:
        """Return the id of the row, which may be a number."""
        return text_member(self.place, self.row, "id")

    def mapping(self, key: str) -> Mapping[str, object]:
        """Return a member that must be an object."""
        value = self.row.get(key)
        if not isinstance(value, dict):
            raise self.place.error(f"member {key!r} must be an object")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a member that may be missing, and must be a list of texts that are not empty."""
        value = self.row.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self.place.error(f"member {key!r} must be a list of texts")
        if not all(map(str.strip, value)):
            raise self.place.error(f"member {key!r} has an empty text")
        return tuple(value)

    def offset(self, passage: str) -> int | None:
        """Return ``answer_start``, checked against the passage."""
        value = self.row.get("answer_start")
        if value is None:
            return None
        if type(value) is not int or not 0 <= value < max(1, len(passage)):
            problem = f"answer_start is {value!r}; the passage has {len(passage)} characters"
            raise self.place.error(problem)
        return value


class _Cleaner:
    """Cuts ``drop_pattern`` out of texts and collapses white space."""

    def __init__(self, source: Source) -> None:
        self._pattern = re.compile(source.drop_pattern) if source.drop_pattern else None

    def __call__(self, text: str) -> str:
        return collapse(self._pattern.sub(" ", text) if self._pattern else text)


def _document_of(source: Source, row_id: str, *candidates: str) -> str:
    """Return the document of a row: by the source's pattern, else the first name that is there."""
    if source.document_pattern:
        match = re.search(source.document_pattern, row_id)
        if match:
            return match.group(1) if match.groups() else match.group(0)
    before_hash = row_id.partition("#")[0] if "#" in row_id else ""
    return next((name for name in (*candidates[:1], before_hash, *candidates[1:]) if name), row_id)


def read_pairs(
    path: Path,
    source: PairSource,
    languages: Sequence[str] | None,
    counts: Counter[str] | None = None,
) -> Iterator[PairRow]:
    """Yield the question-passage rows of a source, of any form, in the wanted languages.

    The document of a row is: ``document_pattern`` on the id, else ``doc``, else the id before
    ``#``, else the title, else the passage itself.

    Args:
        path: File or directory; with form ``huggingface`` where a local copy would be.
        source: Its form, and what is done to its texts.
        languages: The wanted languages, where the source does not say them; all if ``None``.
        counts: Gets the number of rows that were left out, by reason: questions nobody can
            answer, and rows that ``drop_pattern`` left without text.

    Raises:
        DataError: A row breaks the schema; has no language, an unknown one, or an empty question
            or passage; or one id stands for two questions in one language.
    """
    counts = Counter() if counts is None else counts
    wanted = source.languages or languages
    clean = _Cleaner(source)
    ids = IdRegister("id")
    for place, raw in pair_rows(path, source, counts):
        line = _Line(place, raw)
        language = check_language(place, source.language or raw.get("lang"))
        passage = line.text("passage")
        row_id = line.id()
        ids.add(place, f"{row_id} in {language}", line.text("question"))
        if wanted is not None and language not in wanted:
            continue
        title = clean(line.optional_text("title"))
        question = clean(line.text("question"))
        if raw.get("generic_heading") is True:
            question = f"{title} {question}"
        if not question or not clean(passage):
            counts["emptied_by_drop_pattern"] += 1
            continue
        document = _document_of(source, row_id, line.optional_text("doc"), title, collapse(passage))
        yield PairRow(
            id=row_id,
            language=language,
            question=question,
            passage=passage,
            answer_start=line.offset(passage),
            document=document,
            negatives=line.texts("negatives")[: source.max_negatives],
            title=title,
        )


def _texts(
    line: _Line, members: Mapping[str, object], wanted: Sequence[str], clean: _Cleaner
) -> dict[str, str]:
    """Return the non-empty texts of the wanted languages."""
    texts = {}
    for language in wanted:
        value = members.get(INDONESIAN_KEY if language == INDONESIAN else language)
        if value is None:
            continue
        if not isinstance(value, str):
            problem = f"the text in {language!r} is {type(value).__name__}, not text"
            raise line.place.error(problem)
        if text := clean(value):
            texts[language] = text
    return texts


def _words(
    line: _Line, members: Mapping[str, object], wanted: Sequence[str], clean: _Cleaner
) -> dict[str, list[str]]:
    """Return the words of the wanted languages; one word may stand for a list of one."""
    words = {}
    for language in wanted:
        value = members.get(INDONESIAN_KEY if language == INDONESIAN else language, [])
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(word, str) for word in listed):
            raise line.place.error(f"the words in {language!r} are not a list of texts")
        if kept := [word for word in map(clean, listed) if word]:
            words[language] = kept
    return words


def _alternatives(
    words: Mapping[str, list[str]], limit: int, *, cycle: bool
) -> list[dict[str, str]]:
    """Return one row per translation: the k-th word of every language that has one.

    Args:
        words: Words by language.
        limit: Most rows.
        cycle: Start again at the first word of a language that has fewer words than another.
    """
    longest = max(map(len, words.values()), default=0)
    return [
        {lang: w[k % len(w)] for lang, w in words.items() if cycle or k < len(w) or lang == "en"}
        for k in range(min(limit, longest))
    ]


def _lexicon_rows(
    line: _Line, source: LexiconSource, wanted: Sequence[str], clean: _Cleaner
) -> list[dict[str, str]]:
    if source.form == "omw":
        words = _words(line, line.mapping("lemmas"), wanted, clean)
        # Chinese wordnet writes "+" between the morphemes of a lemma.
        joined = {lang: [word.replace("+", "") for word in ws] for lang, ws in words.items()}
        return _alternatives(joined, source.alternatives, cycle=True)
    entry = {"en": [line.text("en")], **line.mapping("tr")}
    return _alternatives(_words(line, entry, wanted, clean), source.alternatives, cycle=False)


def read_parallel(
    path: Path, source: ParallelSource, languages: Sequence[str]
) -> Iterator[ParallelRow]:
    """Yield the parallel rows that have at least two of the wanted languages.

    The document of a row is: ``document_pattern`` on the id, else ``doc``, else the id before
    ``#``, else its first text, so that repetitions of one sentence stay on one side.

    Raises:
        DataError: A line breaks the schema.
    """
    wanted = source.languages or tuple(languages)
    clean = _Cleaner(source)
    for place, row in parallel_rows(path, source):
        line = _Line(place, row)
        # Rows of tables are told apart by where they stand.
        row_id = line.id() if row.get("id") is not None else str(place.line or place.inside)
        if isinstance(source, LexiconSource):
            variants = _lexicon_rows(line, source, wanted, clean)
        elif source.fields:
            variants = [_texts(line, line.mapping(f), wanted, clean) for f in source.fields]
        else:
            variants = [_texts(line, row, wanted, clean)]
        for texts in variants:
            if len(texts) >= 2:
                first = texts.get("en") or next(iter(texts.values()))
                document = _document_of(source, row_id, line.optional_text("doc"), first)
                yield ParallelRow(row_id, document, texts)
