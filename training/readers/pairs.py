"""Training rows of every form, as plain objects with their place; ``training.data`` checks them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from training.config import PairSource, ParallelSource, Source
from training.errors import DataError
from training.readers import squad
from training.readers.files import JsonObject, Place, read_json_lines
from training.readers.judged import training_rows
from training.readers.paragraphs import json_files
from training.readers.recognise import FORMS
from training.readers.tables import hub_rows, parquet_rows, renamed, tab_rows

Rows = Iterator[tuple[Place, JsonObject]]


@dataclass(frozen=True, slots=True)
class _Reading:
    path: Path
    source: Source


def _json_lines(reading: _Reading) -> Rows:
    return ((Place(reading.path, n), row) for n, row in read_json_lines(reading.path))


def _hub(reading: _Reading) -> Rows:
    source = reading.source
    return hub_rows(
        reading.path,
        source.path,
        subset=source.subset,
        split=source.split,
        revision=source.revision,
    )


_TABLES: dict[str, Callable[[_Reading], Rows]] = {
    "jsonl": _json_lines,
    "tsv": lambda reading: tab_rows(reading.path),
    "parquet": lambda reading: parquet_rows(reading.path),
    "huggingface": _hub,
}


def pair_rows(path: Path, source: PairSource, counts: Counter[str]) -> Rows:
    """Yield the question-passage rows of a source in any form.

    Args:
        path: File or directory.
        source: Says the form, and what the form needs.
        counts: Gets what a reader leaves out, by reason.

    Raises:
        DataError: The file or directory is not of that form.
    """
    if source.form in _TABLES:
        yield from _table_rows(_Reading(path, source))
    elif source.form in {"squad", "lareqa"}:
        yield from _documents(path, source, counts)
    else:
        yield from _judged_rows(path, source)


def parallel_rows(path: Path, source: ParallelSource) -> Rows:
    """Yield the rows of a source of parallel text or of a lexicon, as they stand in the file.

    Raises:
        DataError: The file is not of the source's form.
    """
    reading = _Reading(path, source)
    if source.form in _TABLES:
        return _table_rows(reading)
    return _json_lines(reading)  # lexicons


def raw_rows(path: Path, source: Source) -> Rows:
    """Yield the rows of a source that is a table, under the names they have there.

    Raises:
        DataError: The file is not of the source's form, or the dataset cannot be loaded.
    """
    return _TABLES[source.form](_Reading(path, source))


def _table_rows(reading: _Reading) -> Rows:
    columns = reading.source.columns
    for place, raw in raw_rows(reading.path, reading.source):
        row = renamed(raw, columns) if columns else raw
        start = row.get("answer_start")
        if reading.source.form == "tsv" and isinstance(start, str) and start.isdecimal():
            row["answer_start"] = int(start)  # columns by tabs know no numbers
        yield place, row


def _documents(path: Path, source: PairSource, counts: Counter[str]) -> Rows:
    files = json_files(path)
    if not files:
        raise DataError(path, None, f"has no *.json file, as form = {source.form!r} needs")
    for file in files:
        yield from squad.rows(file, source.language, counts)


def _judged_rows(path: Path, source: PairSource) -> Rows:
    find, looked_for = FORMS["trec" if source.form == "mr-tydi" else source.form]
    judged = find(path, split=source.split, language=source.language)
    if judged is None:
        raise DataError(path, None, f"is not of form {source.form!r}; looked for {looked_for}")
    return training_rows(judged)
