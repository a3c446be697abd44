"""The evaluation set of a study, with what the analysis needs to know about its questions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data import read_json_lines, unit_hash
from training.errors import DataError
from training.retrieval_set import RetrievalSet, RowArray, read_retrieval_set


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationSet:
    """A retrieval set, numbered.

    Attributes:
        data: The set.
        languages: Codes of all languages; a number is a position in it.
        asked: Language number of every query.
        spoken: Language number of every passage.
        clusters: Number of the parallel question of every query.
        half: 0 or 1 for every query; all questions of an article share one.
        articles: Number of articles in each half.
    """

    data: RetrievalSet
    languages: tuple[str, ...]
    asked: RowArray
    spoken: RowArray
    clusters: RowArray
    half: RowArray
    articles: tuple[int, int]


def read_evaluation_set(directory: Path) -> EvaluationSet:
    """Read a retrieval set and split its articles in two.

    The article of a query is that of its first relevant passage: its ``title``, or its context
    where it has none. Articles are halved in the order of a hash of their names, so that the
    split depends on nothing else.

    Raises:
        DataError: The set cannot be read, or is of one article.
    """
    data = read_retrieval_set(directory)
    article_of = _articles(directory, data)
    articles = [article_of[data.passages[int(rows[0])].id] for rows in data.relevant]
    ordered = sorted(set(articles), key=lambda name: (unit_hash(name), name))
    if len(ordered) < 2:
        raise DataError(directory, None, "holds one article only, so that it cannot be split")
    first = set(ordered[: len(ordered) // 2])
    languages = tuple(sorted({*data.query_languages.tolist(), *data.passage_languages.tolist()}))
    number = {code: position for position, code in enumerate(languages)}
    return EvaluationSet(
        data=data,
        languages=languages,
        asked=np.array([number[query.language] for query in data.queries], np.int64),
        spoken=np.array([number[passage.language] for passage in data.passages], np.int64),
        clusters=data.clusters,
        half=np.array([int(name not in first) for name in articles], np.int64),
        articles=(len(first), len(ordered) - len(first)),
    )


def _articles(directory: Path, data: RetrievalSet) -> dict[str, str]:
    articles = {passage.id: passage.document for passage in data.passages}
    for name in ("passages.jsonl", "passages.jsonl.gz"):
        if (directory / name).is_file():
            for _, row in read_json_lines(directory / name):
                if title := row.get("title"):
                    articles[str(row["id"])] = str(title)
            break
    return articles
