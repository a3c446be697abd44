"""Isoglot's own retrieval sets: ``queries.jsonl``, ``passages.jsonl`` and ``qrels.tsv``.

::

    queries.jsonl    {"id", "lang", "text", "xling_id"?}       xling_id: shared by translations
    passages.jsonl   {"id", "lang", "text", "context_id"?, "title"?}
                                       context_id: the paragraph it is from; a title is not embedded
    qrels.tsv        query_id, passage_id, grade               with a header

Each may be gzipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from training.errors import DataError
from training.readers.checks import text_member
from training.readers.files import Place, read_json_lines
from training.readers.judged import JudgedSet, TextRecord
from training.readers.records import headed_qrels, json_text

LOOKED_FOR = "queries.jsonl, passages.jsonl and qrels.tsv"


def find(path: Path, *, split: str | None, language: str | None) -> JudgedSet | None:
    """Return the set in a directory of this form; ``None`` if it is of another.

    Raises:
        DataError: One of the three files is missing, or a split is asked for.
    """
    if not path.is_dir() or _there(path, "passages.jsonl") is None:
        return None
    if split is not None:
        raise DataError(path, None, f"has no split {split!r}; sets of this form are not split")
    queries, passages, qrels = (
        _file(path, name) for name in ("queries.jsonl", "passages.jsonl", "qrels.tsv")
    )
    return JudgedSet(
        path.name,
        path,
        lambda: _texts(queries, "xling_id", language),
        lambda: headed_qrels(qrels),
        lambda: _texts(passages, "context_id", language),
        Counter(),
    )


def _there(directory: Path, name: str) -> Path | None:
    candidates = (directory / name, directory / f"{name}.gz")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _file(directory: Path, name: str) -> Path:
    path = _there(directory, name)
    if path is None:
        raise DataError(directory, None, f"has passages.jsonl, but no {name} (or {name}.gz)")
    return path


def _texts(path: Path, group_member: str, language: str | None) -> Iterator[TextRecord]:
    for number, row in read_json_lines(path):
        place = Place(path, number)
        record = json_text(place, row, language)
        title = text_member(place, row, "title") if row.get("title") is not None else ""
        group = row.get(group_member)
        if group is not None:
            yield replace(record, group=text_member(place, row, group_member), title=title)
        else:
            yield replace(record, title=title)
