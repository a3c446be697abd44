"""The two protocols: calibrators fitted on the other half of the articles, or on other sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.core.ports import Encoder
from app.core.types import FloatArray
from training.calibrate import balanced_weights
from training.calibration_config import CalibrationConfig
from training.calibration_data import CalibrationPool, build_pool, collect_hits, load_sets
from training.embedding import embed_passages, embed_queries
from training.retrieval_set import RetrievalSet
from training.served import HitTable
from training.study.calibrators import METHODS, Fitted, Hits, fit_calibrators
from training.study.evaluation_set import EvaluationSet
from training.study.serving import Served

ARTICLE_SPLIT, TRANSFER = "article split", "transfer"


@dataclass(frozen=True, slots=True, eq=False)
class Stated:
    """Probabilities of the hits on the evaluation set under one protocol.

    Attributes:
        hits: The hits.
        probability: Method to probabilities, (n,); NaN where a pair has no calibrator of its own.
        parameters: What was fitted, by part.
    """

    hits: Hits
    probability: Mapping[str, FloatArray]
    parameters: Mapping[str, object]


def hits_of(evaluation: EvaluationSet, served: Served) -> Hits:
    """Return served lists as hits; in an evaluation set every hit is judged."""
    shape = served.rows.shape
    relevant = np.zeros(shape, np.bool_)
    for answers, line, rows in zip(evaluation.data.relevant, relevant, served.rows, strict=True):
        line[:] = np.isin(rows, answers)
    columns = {
        "score": served.scores,
        "raw": served.raw,
        "query_language": np.broadcast_to(evaluation.asked[:, None], shape),
        "passage_language": evaluation.spoken[served.rows],
        "relevant": relevant,
        "rank": np.broadcast_to(np.arange(1, shape[1] + 1), shape),
        "cluster": np.broadcast_to(evaluation.clusters[:, None], shape),
        "part": np.broadcast_to(evaluation.half[:, None], shape),
    }
    return Hits(**{name: np.ascontiguousarray(column).ravel() for name, column in columns.items()})


def split_by_article(hits: Hits, *, languages: int, english: int) -> Stated:
    """Fit on each half of the articles, and state probabilities of the other half."""
    probability = {name: np.full(len(hits), np.nan) for name in METHODS}
    parameters: dict[str, object] = {}
    for half in (0, 1):
        mine = hits.part == half
        fitted = fit_calibrators(hits.where(mine), None, languages=languages, english=english)
        parameters[f"half {half}"] = dict(fitted.parameters)
        _state(fitted, hits, ~mine, probability)
    return Stated(hits, probability, parameters)


def transfer(fit_on: Hits, hits: Hits, *, languages: int, english: int) -> Stated:
    """Fit on development sets, and state probabilities on the evaluation set."""
    weights = balanced_weights(fit_on.part, fit_on.same)
    fitted = fit_calibrators(fit_on, weights, languages=languages, english=english)
    probability = {name: np.full(len(hits), np.nan) for name in METHODS}
    _state(fitted, hits, np.ones(len(hits), np.bool_), probability)
    return Stated(hits, probability, {"development sets": dict(fitted.parameters)})


def _state(
    fitted: Fitted,
    hits: Hits,
    mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    probability: Mapping[str, FloatArray],
) -> None:
    chosen = hits.where(mask)
    for name, method in fitted.methods.items():
        probability[name][mask] = method(chosen)


class DevelopmentSets:
    """The sets of the transfer protocol, read once and served with one encoder after the other.

    Args:
        config: The sets and their caps.
        data_root: What their paths start from.
    """

    def __init__(self, config: CalibrationConfig, data_root: Path) -> None:
        self._config = config
        self._sets: list[RetrievalSet] = load_sets(config, data_root)
        self._pool: CalibrationPool | None = None

    def serve(self, encoder: Encoder, evaluation: EvaluationSet) -> Hits:
        """Return judged hits in the whole pool, of languages that the evaluation set has."""
        known = self._pool
        if known is None:
            self._pool = pool = build_pool(encoder, self._sets, self._config)
        else:
            pool = CalibrationPool(
                data=known.data,
                queries=embed_queries(encoder, [query.text for query in known.data.queries]),
                passages=embed_passages(encoder, [p.text for p in known.data.passages]),
                source=known.source,
                passage_source=known.passage_source,
                asked=known.asked,
            )
        collected = collect_hits(pool, self._config)
        return _as_hits(collected.hits, collected.source, evaluation)


def _as_hits(
    table: HitTable,
    source: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    evaluation: EvaluationSet,
) -> Hits:
    number = {code: position for position, code in enumerate(evaluation.languages)}
    asked = np.array([number.get(code, -1) for code in table.query_language.tolist()], np.int64)
    spoken = np.array([number.get(code, -1) for code in table.passage_language.tolist()], np.int64)
    hits = Hits(
        score=table.score,
        raw=np.full(len(table), np.nan),
        query_language=asked,
        passage_language=spoken,
        relevant=table.relevant,
        rank=table.rank,
        cluster=table.cluster,
        part=source,
    )
    return hits.where((asked >= 0) & (spoken >= 0))
