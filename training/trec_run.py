"""TREC run files: ``query Q0 passage rank score tag``, one line a returned passage.

Order in a run is decided by score, ties by passage id, as everywhere in this package; the rank
column is written for people and not read. trec_eval breaks ties the other way round, by the
higher id: where a system gives equal scores, its figures can differ from ours.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from training.errors import DataError
from training.retrieval_set import RetrievalSet, RowArray
from training.search import Neighbours

TAG = "isoglot"
DEPTH = 100


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a system returned for the queries of a set.

    Attributes:
        listed: For every query of the set the returned passage rows, best first.
        depth: Longest list.
        unanswered: Number of queries of the set with no line.
        unjudged_queries: Number of queries in the file that the set has no judgements for.
        tags: Names that the lines carry.
    """

    listed: tuple[RowArray, ...]
    depth: int
    unanswered: int
    unjudged_queries: int
    tags: tuple[str, ...]


def write_run_file(data: RetrievalSet, found: Neighbours, path: Path, *, tag: str = TAG) -> None:
    """Write the best passages of every query; scores keep all digits of a float32."""
    with _open(path, "wt") as file:
        for query, rows, scores in zip(data.queries, found.rows, found.scores, strict=True):
            for rank, (row, score) in enumerate(zip(rows, scores, strict=True), start=1):
                written = np.format_float_positional(np.float32(score), unique=True, trim="0")
                file.write(f"{query.id} Q0 {data.passages[row].id} {rank} {written} {tag}\n")


def read_run_file(data: RetrievalSet, path: Path) -> Run:
    """Read what a system returned for the queries of a set.

    Lines of queries that the set has no judgements for are counted and left out, as trec_eval
    does.

    Raises:
        DataError: A line is not of six fields with a finite score, names a passage that the set
            does not have, or names it twice for one query; or no query of the set has a line.
    """
    row_of = {passage.id: row for row, passage in enumerate(data.passages)}
    answers: dict[str, dict[int, float]] = defaultdict(dict)
    tags: dict[str, None] = {}
    try:
        with _open(path, "rt") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    tags[_read_line(path, number, line, row_of, answers)] = None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(path, None, f"cannot be read as a run file: {error}") from error
    asked = [query.id for query in data.queries]
    listed = tuple(_in_order(answers.get(query_id, {})) for query_id in asked)
    strangers = len(answers.keys() - set(asked))
    if strangers == len(answers):
        problem = f"answers no query of {data.name!r}; its queries have ids like {asked[0]!r}"
        raise DataError(path, None, problem)
    return Run(
        listed=listed,
        depth=max(map(len, listed)),
        unanswered=sum(not len(rows) for rows in listed),
        unjudged_queries=strangers,
        tags=tuple(tags),
    )


def _read_line(
    path: Path,
    number: int,
    line: str,
    row_of: Mapping[str, int],
    answers: dict[str, dict[int, float]],
) -> str:
    fields = line.split()
    if len(fields) != 6:
        problem = f"expected 6 fields (query Q0 passage rank score tag), not {len(fields)}"
        raise DataError(path, number, problem)
    query_id, _, passage_id, _, score, tag = fields
    if passage_id not in row_of:
        problem = f"names passage {passage_id!r}, which is not in the set; score it with its own"
        raise DataError(path, number, problem)
    if row_of[passage_id] in answers[query_id]:
        problem = f"names passage {passage_id!r} a second time for query {query_id!r}"
        raise DataError(path, number, problem)
    answers[query_id][row_of[passage_id]] = _score(path, number, score)
    return tag


def _score(path: Path, number: int, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DataError(path, number, f"the score {text!r} is not a finite number")
    return score


def _in_order(answers: Mapping[int, float]) -> RowArray:
    # Rows are in the order of passage ids, so the lower row breaks a tie by id.
    ordered = sorted(answers, key=lambda row: (-answers[row], row))
    return np.array(ordered, dtype=np.int64)


def _open(path: Path, mode: str) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, mode, encoding="utf-8")  # type: ignore[return-value]
    return path.open(mode, encoding="utf-8")  # type: ignore[return-value]
