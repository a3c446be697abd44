"""From ranks to the metrics of the LAReQA protocol (Roy et al. 2020), with intervals.

Three settings, each a mean over languages so that none weighs more than another:

- monolingual: the pool holds the passages in the query's language;
- cross-lingual: the pool holds the passages in one other language; every ordered pair;
- multilingual: one pool of all languages, all parallel answers relevant.

Language bias is read in the multilingual pool: rank distance, the language preference rate
(LPR@1, the share of queries whose first relevant hit is in their own language), the share of
first hits in the query's language, and PEER.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray, JsonValue
from training.metrics import language_bias, ranking
from training.metrics.bootstrap import Estimate, macro_mean
from training.ranks import NOBODY, Ranking
from training.retrieval_set import RetrievalSet, RowArray

CUTOFF = 10
RECALLS = (1, CUTOFF, 100)
PEER_CUTOFFS = (20, 100)
PAIR = ">"


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """One value of every metric for every observation; what a mean and a paired test rest on.

    Attributes:
        values: Metric to values, float64 of shape (n,), NaN where not defined.
        query: Query row of every observation, int64 of shape (n,).
        groups: What the observation is averaged within: a query language, or ``query>passage``
            languages.
        clusters: Number of the parallel question, int64 of shape (n,).
    """

    values: Mapping[str, FloatArray]
    query: RowArray
    groups: NDArray[np.str_]
    clusters: RowArray

    def summary(self) -> dict[str, Estimate]:
        """Return the macro means with their cluster bootstrap intervals."""
        return {
            name: macro_mean(value, self.groups, self.clusters)
            for name, value in self.values.items()
        }


@dataclass(frozen=True, slots=True)
class RetrievalResult:
    """What one system reaches on one set.

    Attributes:
        summary: Setting and metric, for example ``mono/map``, to its estimate.
        by_language: Query language to metric to value.
        by_pair: Query language to passage language to cross-lingual mAP.
        observations: What these are means of: one a query, and one a query and other language.
        notes: What a reader must know to read the figures.
    """

    summary: Mapping[str, Estimate]
    by_language: Mapping[str, Mapping[str, float]]
    by_pair: Mapping[str, Mapping[str, float]]
    observations: tuple[Observations, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, JsonValue]:
        """Return the JSON object of this result; a value that is not a number becomes null."""
        worst = min(
            (
                (value, f"{query}{PAIR}{passage}")
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
            "notes": list(self.notes),
        }


def summarise(data: RetrievalSet, found: Ranking) -> RetrievalResult:
    """Turn ranks into the metrics of the protocol, with cluster bootstrap intervals."""
    bias, notes = _bias(data, found)
    one_a_query = _by_query(data, found, bias)
    parts = [one_a_query]
    if (crossing := _by_pair(data, found)) is not None:
        parts.append(crossing)
    summary = {name: value for part in parts for name, value in part.summary().items()}
    by_language = {
        str(code): {
            name: _mean(value[one_a_query.groups == code])
            for name, value in one_a_query.values.items()
        }
        for code in np.unique(one_a_query.groups)
    }
    by_pair = {} if crossing is None else _pair_means(crossing)
    for code, row in by_pair.items():
        by_language[code]["cross/map"] = float(np.mean(list(row.values())))
    return RetrievalResult(summary, by_language, by_pair, tuple(parts), notes)


def _quality(setting: str, ranks: FloatArray, grades: FloatArray) -> dict[str, FloatArray]:
    return {
        f"{setting}/map": ranking.average_precision(ranks),
        f"{setting}/mrr": ranking.reciprocal_rank(ranks),
        **{f"{setting}/recall@{k}": ranking.recall(ranks, k) for k in RECALLS},
        f"{setting}/ndcg@{CUTOFF}": ranking.ndcg(ranks, grades, CUTOFF),
    }


def _by_query(data: RetrievalSet, found: Ranking, bias: Mapping[str, FloatArray]) -> Observations:
    asked = data.query_languages
    mono = np.where(found.languages == asked[:, None], found.inside, np.nan)
    values = {
        **_quality("mono", mono, found.grades),
        **_quality("multi", found.overall, found.grades),
        **bias,
    }
    values = {name: value for name, value in values.items() if np.isfinite(value).any()}
    return Observations(values, np.arange(len(asked)), asked, data.clusters)


def _by_pair(data: RetrievalSet, found: Ranking) -> Observations | None:
    """Return the cross-lingual observations, ``None`` where no answer is in another language."""
    asked = data.query_languages
    rows, groups = [], []
    parts: list[dict[str, FloatArray]] = []
    for code in np.unique(found.languages[found.languages != ""]):
        cells = found.languages == code
        some = np.flatnonzero(cells.any(axis=1) & (asked != code))
        if len(some):
            ranks = np.where(cells, found.inside, np.nan)[some]
            rows.append(some)
            groups.append(np.char.add(asked[some], f"{PAIR}{code}"))
            parts.append(_quality("cross", ranks, found.grades[some]))
    if not rows:
        return None
    query = np.concatenate(rows)
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Observations(values, query, np.concatenate(groups), data.clusters[query])


def _bias(data: RetrievalSet, found: Ranking) -> tuple[dict[str, FloatArray], tuple[str, ...]]:
    spoken, asked = data.passage_languages, data.query_languages
    if len(np.unique(spoken)) < 2:
        return {}, ()
    distance = language_bias.rank_distance(found.overall, found.languages)
    first = spoken[found.first] == asked
    values = {
        "bias/rank_distance": distance,
        "bias/rank_distance_share": distance / len(data.passages),
        "bias/lpr@1": language_bias.first_relevant_is_same(found.overall, found.languages, asked),
        "bias/same_language_first_hit": np.where(found.first == NOBODY, np.nan, first),
    }
    notes = []
    lost = int(np.isinf(found.overall).any(axis=1).sum())
    if lost:
        notes.append(
            f"Rank distance leaves out {lost} queries: not all their relevant passages were "
            "returned, so a rank is not known."
        )
    peer, note = _peer(found)
    return values | peer, (*notes, *note)


def _peer(found: Ranking) -> tuple[dict[str, FloatArray], tuple[str, ...]]:
    telling = language_bias.peer_can_differ(found.overall, found.grades, found.languages)
    if not telling.any():
        note = (
            "PEER is not reported: no query has two relevant passages of one grade in one "
            "language and a third in another, so its p-value is the same in any order."
        )
        return {}, (note,)
    values = {}
    for cutoff in PEER_CUTOFFS:
        value = np.full(len(telling), np.nan)
        value[telling] = language_bias.peer(
            found.overall[telling], found.grades[telling], found.languages[telling], cutoff=cutoff
        )
        values[f"bias/peer@{cutoff}"] = value
    note = f"PEER rests on the {int(telling.sum())} queries whose p-value depends on the order."
    return values, (note,)


def _pair_means(crossing: Observations) -> dict[str, dict[str, float]]:
    precision = crossing.values["cross/map"]
    by_pair: dict[str, dict[str, float]] = {}
    for pair in np.unique(crossing.groups):
        query, passage = str(pair).split(PAIR)
        by_pair.setdefault(query, {})[passage] = _mean(precision[crossing.groups == pair])
    return by_pair


def _mean(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
