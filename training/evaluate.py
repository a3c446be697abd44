"""Retrieval quality under the LAReQA protocol (Roy et al. 2020).

Three settings, each a mean over languages so that none weighs more than another:

- monolingual: the pool holds the passages in the query's language;
- cross-lingual: the pool holds the passages in one other language; every ordered pair;
- multilingual: one pool of all languages, all parallel answers relevant.

Language bias is read in the multilingual pool: rank distance, the language preference rate
(LPR@1, the share of queries whose first relevant hit is in their own language) and the share of
first hits in the query's language.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.ports import Encoder
from app.core.types import FloatArray, JsonValue, VectorArray
from training.bm25 import Bm25
from training.embedding import embed_passages, embed_queries, progress
from training.metrics import ranking
from training.metrics.bootstrap import Estimate, macro_mean
from training.retrieval_set import RetrievalSet, RowArray
from training.search import BLOCK_CELLS, key_blocks, nearest, pack, ranks_in_pool, rows_of

CUTOFF = 10


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSet:
    """A retrieval set with the vectors of its queries and passages, row by row."""

    data: RetrievalSet
    queries: VectorArray
    passages: VectorArray


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Exact ranks of all relevant passages; padded arrays of one row a query.

    Attributes:
        overall: Rank in the pool of all languages, ``inf`` in unused cells.
        inside: Rank in the pool of the passage's own language, aligned with ``overall``.
        grades: Grade, 0 in unused cells.
        languages: Language of the relevant passage, empty in unused cells.
        first: Row of the first passage of the whole pool, shape (queries,).
    """

    overall: FloatArray
    inside: FloatArray
    grades: FloatArray
    languages: NDArray[np.str_]
    first: RowArray


@dataclass(frozen=True, slots=True)
class RetrievalResult:
    """What one system reaches on one set.

    Attributes:
        summary: Setting and metric, for example ``mono/map``, to its estimate.
        by_language: Query language to metric to value.
        by_pair: Query language to passage language to cross-lingual mAP.
    """

    summary: Mapping[str, Estimate]
    by_language: Mapping[str, Mapping[str, float]]
    by_pair: Mapping[str, Mapping[str, float]]

    def to_json(self) -> dict[str, JsonValue]:
        """Return the JSON object of this result; a value that is not a number becomes null."""
        worst = min(
            (
                (value, f"{query}>{passage}")
                for query, row in self.by_pair.items()
                for passage, value in row.items()
            ),
            default=None,
        )
        return {
            "summary": {name: dict(value.to_json()) for name, value in self.summary.items()},
            "by_language": {
                code: {name: None if math.isnan(v) else v for name, v in row.items()}
                for code, row in self.by_language.items()
            },
            "cross_map_by_pair": {code: dict(row) for code, row in self.by_pair.items()},
            "worst_pair": None if worst is None else {"pair": worst[1], "cross/map": worst[0]},
        }


def embed_set(encoder: Encoder, data: RetrievalSet) -> EmbeddedSet:
    """Embed the queries and passages of a set."""
    return EmbeddedSet(
        data=data,
        queries=embed_queries(encoder, [query.text for query in data.queries]),
        passages=embed_passages(encoder, [passage.text for passage in data.passages]),
    )


def rank_relevant(embedded: EmbeddedSet, *, block_cells: int = BLOCK_CELLS) -> Ranking:
    """Rank every relevant passage among all passages and among those of its language."""
    data = embedded.data
    language_of = data.passage_languages
    everything = np.arange(len(data.passages))
    pools = {code: np.flatnonzero(language_of == code) for code in np.unique(language_of)}
    overall: list[RowArray] = []
    inside: list[RowArray] = []
    first: list[RowArray] = []
    rows_a_block = max(1, block_cells // len(data.passages))
    blocks = key_blocks(embedded.queries, embedded.passages, block_cells=block_cells)
    total = -(-len(data.queries) // rows_a_block)
    for block, keys in progress(blocks, f"Ranking {data.name}", total):
        wanted = data.relevant[block]
        overall += ranks_in_pool(keys, wanted, everything)
        inside += _ranks_inside(keys, wanted, language_of, pools)
        first.append(rows_of(keys.max(axis=1)))
    return Ranking(
        overall=ranking.pad(overall),
        inside=ranking.pad(inside),
        grades=ranking.pad(data.grades, fill=0.0),
        languages=_pad_languages([language_of[rows] for rows in data.relevant]),
        first=np.concatenate(first),
    )


def summarise(data: RetrievalSet, found: Ranking) -> RetrievalResult:
    """Turn ranks into the metrics of the protocol, with cluster bootstrap intervals."""
    asked, clusters = data.query_languages, data.clusters
    mono = _only(found, found.languages == asked[:, None])
    same_first = data.passage_languages[found.first] == asked
    distance = ranking.rank_distance(found.overall)
    values = {
        "mono/map": ranking.average_precision(mono),
        "mono/mrr": ranking.reciprocal_rank(mono),
        "mono/recall@1": ranking.recall(mono, 1),
        f"mono/recall@{CUTOFF}": ranking.recall(mono, CUTOFF),
        f"mono/ndcg@{CUTOFF}": ranking.ndcg(mono, found.grades * np.isfinite(mono), CUTOFF),
        "multi/map": ranking.average_precision(found.overall),
        "multi/recall@1": ranking.recall(found.overall, 1),
        f"multi/recall@{CUTOFF}": ranking.recall(found.overall, CUTOFF),
        f"multi/ndcg@{CUTOFF}": ranking.ndcg(found.overall, found.grades, CUTOFF),
        "bias/rank_distance": distance,
        "bias/rank_distance_share": distance / len(data.passages),
        "bias/lpr@1": _first_relevant_is_same(found, asked),
        "bias/same_language_first_hit": same_first.astype(np.float64),
    }
    values = {name: value for name, value in values.items() if np.isfinite(value).any()}
    summary = {name: macro_mean(value, asked, clusters) for name, value in values.items()}
    by_language = {
        str(code): {name: _mean(value[asked == code]) for name, value in values.items()}
        for code in np.unique(asked)
    }
    by_pair = _cross_lingual(data, found, summary)
    for code, row in by_pair.items():
        by_language[code]["cross/map"] = float(np.mean(list(row.values())))
    return RetrievalResult(summary, by_language, by_pair)


def evaluate_bm25(data: RetrievalSet) -> RetrievalResult:
    """Evaluate BM25 in the monolingual setting, each language searched by itself."""
    asked, spoken = data.query_languages, data.passage_languages
    ranks: list[RowArray] = [np.zeros(0, dtype=np.int64)] * len(data.queries)
    shared = [code for code in np.unique(asked) if code in spoken]
    for code in progress(shared, "BM25", len(shared)):
        pool, rows = np.flatnonzero(spoken == code), np.flatnonzero(asked == code)
        index = Bm25([data.passages[row].text for row in pool], str(code))
        keys = pack(index.scores([data.queries[row].text for row in rows]))
        wanted = [np.searchsorted(pool, np.intersect1d(data.relevant[r], pool)) for r in rows]
        for row, found in zip(rows, ranks_in_pool(keys, wanted, np.arange(len(pool))), strict=True):
            ranks[row] = found
    table = ranking.pad(ranks)
    values = {
        "mono/map": ranking.average_precision(table),
        "mono/mrr": ranking.reciprocal_rank(table),
        "mono/recall@1": ranking.recall(table, 1),
        f"mono/recall@{CUTOFF}": ranking.recall(table, CUTOFF),
    }
    return RetrievalResult(
        summary={name: macro_mean(value, asked, data.clusters) for name, value in values.items()},
        by_language={
            str(code): {name: _mean(value[asked == code]) for name, value in values.items()}
            for code in shared
        },
        by_pair={},
    )


def write_run(embedded: EmbeddedSet, path: Path, *, depth: int = 100) -> None:
    """Write the best passages of the multilingual pool as a TREC run file."""
    data = embedded.data
    found = nearest(embedded.queries, embedded.passages, depth)
    with path.open("w", encoding="utf-8") as file:
        for query, rows, scores in zip(data.queries, found.rows, found.scores, strict=True):
            for rank, (row, score) in enumerate(zip(rows, scores, strict=True), start=1):
                file.write(f"{query.id} Q0 {data.passages[row].id} {rank} {score:.7f} isoglot\n")


def _ranks_inside(
    keys: RowArray,
    wanted: tuple[RowArray, ...],
    language_of: NDArray[np.str_],
    pools: Mapping[str, RowArray],
) -> list[RowArray]:
    ranks = [np.zeros(len(rows), dtype=np.int64) for rows in wanted]
    for code, pool in pools.items():
        masks = [language_of[rows] == code for rows in wanted]
        concerned = [rows[mask] for rows, mask in zip(wanted, masks, strict=True)]
        for row, mask, found in zip(
            ranks, masks, ranks_in_pool(keys, concerned, pool), strict=True
        ):
            row[mask] = found
    return ranks


def _cross_lingual(
    data: RetrievalSet, found: Ranking, summary: dict[str, Estimate]
) -> dict[str, dict[str, float]]:
    """Add the cross-lingual metrics to the summary and return mAP by pair."""
    asked = data.query_languages
    spoken = np.unique(found.languages[found.languages != ""])
    parts = [(code, _only(found, found.languages == code)) for code in spoken]
    foreign = {code: np.where(asked == code, np.nan, 1.0) for code in spoken}
    pairs = np.concatenate([np.char.add(np.char.add(asked, ">"), code) for code in spoken])
    clusters = np.tile(data.clusters, len(spoken))
    precision = np.concatenate(
        [ranking.average_precision(ranks) * foreign[code] for code, ranks in parts]
    )
    if not np.isfinite(precision).any():
        return {}
    summary["cross/map"] = macro_mean(precision, pairs, clusters)
    for k in (1, CUTOFF):
        hits = np.concatenate([ranking.recall(ranks, k) * foreign[c] for c, ranks in parts])
        summary[f"cross/recall@{k}"] = macro_mean(hits, pairs, clusters)
    by_pair: dict[str, dict[str, float]] = {}
    for pair in np.unique(pairs[np.isfinite(precision)]):
        query, passage = str(pair).split(">")
        by_pair.setdefault(query, {})[passage] = _mean(precision[pairs == pair])
    return by_pair


def _only(found: Ranking, cells: NDArray[np.bool_]) -> FloatArray:
    return np.where(cells, found.inside, np.inf)


def _first_relevant_is_same(found: Ranking, asked: NDArray[np.str_]) -> FloatArray:
    best = found.overall.argmin(axis=1)
    same = found.languages[np.arange(len(asked)), best] == asked
    return np.where(np.isfinite(found.overall).any(axis=1), same.astype(np.float64), np.nan)


def _pad_languages(rows: list[NDArray[np.str_]]) -> NDArray[np.str_]:
    table = np.full((len(rows), max(1, *(len(row) for row in rows))), "", dtype="<U8")
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return table


def _mean(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
