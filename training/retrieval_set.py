"""Retrieval sets: judged queries over a pool of passages.

``training.readers`` reads them from files; ``assemble`` puts them together. A grade above 0 is
relevant, 0 is not, and a negative grade says that nobody can tell: such a passage is neither a hit
nor a miss for that query (``training/calibrate.py`` leaves it out).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from training.errors import DataError

RowArray: TypeAlias = NDArray[np.int64]
Judgements: TypeAlias = Mapping[str, Mapping[str, int]]
"""Query id to passage id to grade."""


@dataclass(frozen=True, slots=True)
class SetQuery:
    """A query of a retrieval set.

    Attributes:
        id: Unique in its set.
        language: Primary language subtag.
        text: The question.
        cluster: Shared by translations of one question; the unit that is resampled.
    """

    id: str
    language: str
    text: str
    cluster: str


@dataclass(frozen=True, slots=True)
class SetPassage:
    """A passage of a retrieval set.

    Attributes:
        id: Unique in its set.
        language: Primary language subtag.
        text: What is embedded.
        document: Shared by passages cut from one text and by their translations, where known.
    """

    id: str
    language: str
    text: str
    document: str


@dataclass(frozen=True, slots=True, eq=False)
class RetrievalSet:
    """Judged queries over a pool of passages; make one with ``assemble``.

    Attributes:
        name: Name a person recognises.
        queries: The queries that have judgements, by id.
        passages: The pool by id, so that a lower row is a lower id.
        relevant: For every query the rows of its relevant passages, ascending.
        grades: Their grades, aligned with ``relevant``.
        unjudged: For every query the rows of passages that nobody can judge, ascending.
    """

    name: str
    queries: tuple[SetQuery, ...]
    passages: tuple[SetPassage, ...]
    relevant: tuple[RowArray, ...]
    grades: tuple[RowArray, ...]
    unjudged: tuple[RowArray, ...]

    @property
    def query_languages(self) -> NDArray[np.str_]:
        """Language of every query, shape (queries,)."""
        return np.array([query.language for query in self.queries], dtype=np.str_)

    @property
    def passage_languages(self) -> NDArray[np.str_]:
        """Language of every passage, shape (passages,)."""
        return np.array([passage.language for passage in self.passages], dtype=np.str_)

    @property
    def clusters(self) -> RowArray:
        """Number of the cluster of every query, int64 of shape (queries,)."""
        number: dict[str, int] = {}
        codes = [number.setdefault(query.cluster, len(number)) for query in self.queries]
        return np.array(codes, dtype=np.int64)


def read_retrieval_set(
    path: Path, *, split: str | None = None, language: str | None = None
) -> RetrievalSet:
    """Read a retrieval set, whatever its form; see ``training.readers.recognise``."""
    # Imported late: the readers are built on the types above.
    from training.readers.recognise import read_retrieval_set as read

    return read(path, split=split, language=language)


def assemble(
    name: str,
    queries: Iterable[SetQuery],
    passages: Iterable[SetPassage],
    judgements: Judgements,
) -> RetrievalSet:
    """Put queries, passages and judgements together; queries without judgements are left out.

    Raises:
        DataError: An id occurs twice, a text is empty, a judgement names an unknown query or
            passage, or there is none.
    """
    pool = tuple(sorted(passages, key=lambda passage: passage.id))
    asked = tuple(sorted(queries, key=lambda query: query.id))
    row_of = _rows_by_id(name, "passage", pool)
    unknown = judgements.keys() - _rows_by_id(name, "query", asked).keys()
    if unknown:
        raise DataError(Path(name), None, f"judgements name unknown query {min(unknown)!r}")
    kept = tuple(query for query in asked if query.id in judgements)
    if not kept:
        raise DataError(Path(name), None, "no query has a judgement")
    graded = [_graded_rows(name, query, judgements[query.id], row_of) for query in kept]
    return RetrievalSet(
        name=name,
        queries=kept,
        passages=pool,
        relevant=tuple(rows[grades > 0] for rows, grades in graded),
        grades=tuple(grades[grades > 0] for _, grades in graded),
        unjudged=tuple(rows[grades < 0] for rows, grades in graded),
    )


def _graded_rows(
    name: str, query: SetQuery, grades: Mapping[str, int], row_of: Mapping[str, int]
) -> tuple[RowArray, RowArray]:
    # Not by set difference of keys, which would walk the whole pool for every query.
    missing = [passage_id for passage_id in grades if passage_id not in row_of]
    if missing:
        problem = f"the judgements of query {query.id!r} name unknown passage {min(missing)!r}"
        raise DataError(Path(name), None, problem)
    ordered = sorted((row_of[passage_id], grade) for passage_id, grade in grades.items())
    table = np.array(ordered, dtype=np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


class _Item(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def text(self) -> str: ...


def _rows_by_id(name: str, kind: str, items: Sequence[_Item]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, item in enumerate(items):
        if item.id in rows:
            raise DataError(Path(name), None, f"{kind} id {item.id!r} occurs twice")
        if not item.text.strip():
            raise DataError(Path(name), None, f"{kind} {item.id!r} has no text")
        rows[item.id] = row
    return rows
