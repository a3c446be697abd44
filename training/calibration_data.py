"""What a calibrator is fitted on: judged hits of served lists, over a ladder of corpus sizes.

The passages of all sets make one multilingual pool, so that the distractors are real. A rung of
the ladder is a smaller corpus drawn from it (``training/calibration_corpora.py``).

With ``unanswered_share`` other queries are served at every rung as well, from a corpus that their
answers were taken out of: users also ask what nothing answers. How many of them do is a prior that
no data set tells, so it is a setting. Only the first-hit head, which says whether there is an
answer at all, is fitted on these lists; the others say which hits are relevant where there is one.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.ports import Encoder
from app.core.types import BoolArray, VectorArray
from training.calibration_config import CalibrationConfig, CalibrationSource
from training.calibration_corpora import Drawing
from training.data import PairRow, fingerprint, is_held_out, read_pairs
from training.embedding import embed_passages, embed_queries, progress
from training.errors import DataError
from training.question_set import UNJUDGED, QuestionSource, question_set
from training.retrieval_set import RetrievalSet, RowArray, assemble
from training.served import HitTable, concatenate
from training.served_hybrid import served
from training.words import WordIndex


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationPool:
    """All sets as one retrieval set, with vectors.

    Attributes:
        data: Queries and passages of all sets; clusters are documents.
        queries: Vectors of the queries.
        passages: Vectors of the passages.
        source: Number of the source of every query, in the order of the configuration.
        passage_source: Number of the source of every passage.
        asked: Rows of the queries of judged sources.
        words: The words of all of them, where lists are hybrid.
    """

    data: RetrievalSet
    queries: VectorArray
    passages: VectorArray
    source: RowArray
    passage_source: RowArray
    asked: RowArray
    words: WordIndex | None = None

    def serve(
        self, asked: RowArray, corpus: RowArray, *, answered: bool = True, judged_only: bool = True
    ) -> HitTable:
        """Serve queries from a corpus as the service would; see ``training.served.serve``."""
        return served(
            self.data,
            self.queries,
            self.passages,
            self.words,
            asked=asked,
            pool=corpus,
            judged_only=judged_only,
            answered=answered,
        )


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationHits:
    """Judged hits of all rungs.

    Attributes:
        hits: The hits.
        source: Number of the source of each.
        answered: Whether each is from a corpus that holds an answer to its query.
        queries: Number of lists.
        corpus_sizes: The rungs.
    """

    hits: HitTable
    source: RowArray
    answered: BoolArray
    queries: int
    corpus_sizes: tuple[int, ...]

    def where(self, mask: BoolArray) -> CalibrationHits:
        """Return the hits that a mask selects."""
        return replace(
            self,
            hits=self.hits.where(mask),
            source=self.source[mask],
            answered=self.answered[mask],
        )


def load_sets(config: CalibrationConfig, data_root: Path) -> list[RetrievalSet]:
    """Read every source of the configuration as a retrieval set.

    Raises:
        DataError: A file is missing or malformed, or nothing of it is left.
    """
    return [_load(source, config, data_root) for source in config.sources]


def data_sha256(config: CalibrationConfig, data_root: Path) -> str:
    """Return the sha256 over the fingerprints of the source files, in order."""
    digests = [fingerprint(data_root / source.path) for source in config.sources]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def build_pool(
    encoder: Encoder, sets: Sequence[RetrievalSet], config: CalibrationConfig
) -> CalibrationPool:
    """Merge sets into one pool and embed it."""
    data, source, passage_source = _merge(sets)
    judged = np.array([source.judged for source in config.sources])
    return CalibrationPool(
        data=data,
        queries=embed_queries(encoder, [query.text for query in data.queries]),
        passages=embed_passages(encoder, [passage.text for passage in data.passages]),
        words=WordIndex.of(data) if config.retrieval == "hybrid" else None,
        source=source,
        passage_source=passage_source,
        asked=np.flatnonzero(judged[source]),
    )


def collect_hits(pool: CalibrationPool, config: CalibrationConfig) -> CalibrationHits:
    """Serve queries at every rung of the ladder and keep the judged hits."""
    rungs = [size for size in config.corpus_sizes if size < len(pool.data.passages)]
    rng = np.random.default_rng(config.seed)
    tables, sources, marks, queries = [], [], [], 0
    drawing = Drawing(pool.data, pool.asked, pool.passage_source, config.compositions, rng)
    for size in progress([*rungs, None], "Serving", len(rungs) + 1):
        for asked, eligible in drawing.corpora(size, config.queries_a_rung):
            lists = [(asked, eligible, True)]
            if config.unanswered_share > 0.0:
                without = drawing.unanswered(len(asked), config.unanswered_share)
                lists.append((without, drawing.without_answers(without, eligible), False))
            for rows, corpus, answered in lists:
                table = pool.serve(rows, corpus, answered=answered)
                tables.append(table)
                sources.append(pool.source[rows][table.query])
                marks.append(np.full(len(table), answered))
                queries += len(rows)
    return CalibrationHits(
        hits=concatenate(tables),
        source=np.concatenate(sources),
        answered=np.concatenate(marks),
        queries=queries,
        corpus_sizes=(*rungs, len(pool.data.passages)),
    )


def served_at_full_size(pool: CalibrationPool) -> HitTable:
    """Return all hits of the whole pool, judged or not: what a service would see."""
    everything = np.arange(len(pool.data.passages))
    return pool.serve(pool.asked, everything, judged_only=False)


def _load(source: CalibrationSource, config: CalibrationConfig, data_root: Path) -> RetrievalSet:
    path = data_root / source.path
    if source.form != "huggingface" and not path.exists():
        raise DataError(
            path, None, "there is no such file; check --data-root and the configuration"
        )
    share = source.held_out_share
    rows = [
        row
        for row in read_pairs(path, source, config.languages)
        if share is None or is_held_out(row.document, share)
    ]
    kept = _cap(_unambiguous(rows), source.cap, config.seed)
    return question_set(QuestionSource(source.label, kept, source.shared_ids))


def _unambiguous(rows: Sequence[PairRow]) -> list[PairRow]:
    """Leave out questions that are asked of two passages in the same words ("Summary")."""
    asked: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        asked[row.language, row.question.casefold()].add(row.passage)
    unclear = {row.id for row in rows if len(asked[row.language, row.question.casefold()]) > 1}
    return [row for row in rows if row.id not in unclear]


def _cap(rows: Sequence[PairRow], cap: int | None, seed: int) -> list[PairRow]:
    """Keep whole documents, drawn by the seed, until every language has ``cap`` rows or none."""
    if cap is None:
        return list(rows)
    documents = sorted({row.document for row in rows})
    np.random.default_rng(seed).shuffle(documents)
    place = {document: number for number, document in enumerate(documents)}
    kept, taken = [], Counter[str]()
    for row in sorted(rows, key=lambda row: place[row.document]):
        if taken[row.language] < cap:
            kept.append(row)
            taken[row.language] += 1
    return kept


def _merge(sets: Sequence[RetrievalSet]) -> tuple[RetrievalSet, RowArray, RowArray]:
    judgements = {}
    for data in sets:
        for row, query in enumerate(data.queries):
            grades = zip(data.relevant[row], data.grades[row], strict=True)
            judgements[query.id] = {data.passages[p].id: int(grade) for p, grade in grades} | {
                data.passages[p].id: UNJUDGED for p in data.unjudged[row]
            }
    query_source = {query.id: number for number, data in enumerate(sets) for query in data.queries}
    passage_source = {p.id: number for number, data in enumerate(sets) for p in data.passages}
    merged = assemble(
        "calibration pool",
        [query for data in sets for query in data.queries],
        [passage for data in sets for passage in data.passages],
        judgements,
    )
    return (
        merged,
        np.array([query_source[query.id] for query in merged.queries], dtype=np.int64),
        np.array([passage_source[passage.id] for passage in merged.passages], dtype=np.int64),
    )


def labels(config: CalibrationConfig) -> NDArray[np.str_]:
    """Return the names of the sources, in the order of the configuration."""
    return np.array([source.label for source in config.sources], dtype=np.str_)
