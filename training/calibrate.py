"""Fits a calibrator: logit-linear heads on judged hits of served lists.

Every source weighs the same in each relation, however many hits it has. A source with a level of
its own (see ``CalibrationSource.own_level``) has an offset and slopes that are fitted and then
left out: it tells how the relations differ, and nothing else. The ridge is chosen by
cross-validation over documents, because hits of one list are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from app.core.calibration.calibrator import sigmoid
from app.core.calibration.document import (
    CALIBRATOR_SCHEMA,
    FIRST_HIT_FEATURES,
    POOLED_FEATURES,
    EncoderBinding,
    against_their_law,
    dump_calibrator,
)
from app.core.calibration.fit import LogisticFit, fit_logistic
from app.core.calibration.fit_draws import cluster_covariance
from app.core.calibration.fit_ridge import choose_ridge
from app.core.calibration.parts import LinearHead
from app.core.errors import CalibrationError
from app.core.types import BoolArray, FloatArray, JsonValue
from training.calibration_config import CalibrationConfig
from training.calibration_data import CalibrationHits
from training.retrieval_set import RowArray
from training.served import BACKGROUND, DEPTH, HitTable

CLIP = (0.0001, 0.9999)
INTERVAL_LEVEL = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class HeadData:
    """Rows that one head is fitted on.

    Attributes:
        columns: Feature name to values.
        relevant: 0 or 1.
        weights: Weight of every row.
        offsets: One 0-1 column for every source with a level of its own, shape (n, sources).
        documents: Number of the document of every row; its rows are never in two folds.
        folds: Number of folds of the cross-validation.
        seed: Decides which documents share a fold.
    """

    columns: Mapping[str, FloatArray]
    relevant: FloatArray
    weights: FloatArray
    offsets: FloatArray
    documents: RowArray
    folds: int
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class FittedHead:
    """A head with what the fit says about itself.

    Attributes:
        head: The parameters that are served.
        fit: The fit, offsets included.
        ridge: The penalty that cross-validation chose.
        cross_validated_nll: Ridge to weighted mean NLL on the folds left out.
    """

    head: LinearHead
    fit: LogisticFit
    ridge: float
    cross_validated_nll: Mapping[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class FittedHeads:
    """The three heads of a calibrator."""

    hit: FittedHead
    pooled: FittedHead
    first_hit: FittedHead


def fit_heads(
    collected: CalibrationHits, config: CalibrationConfig, *, like: FittedHeads | None = None
) -> FittedHeads:
    """Fit all heads of a calibrator.

    Args:
        collected: The hits.
        config: Says what is fitted.
        like: Heads whose ridges are taken over; ``None`` chooses them by cross-validation.

    Raises:
        CalibrationError: There is no relevant or no irrelevant hit, an input is not finite, the
            fit did not converge, or a probability would not rise with the score.
    """
    first = collected.where(collected.hits.rank == 1)
    every = hit_data(collected.where(collected.answered), config)
    first_rows = _head_data(first.hits, first.source, first.hits.first_hit_columns(), config)

    def fitted(name: str, rows: HeadData, features: Sequence[str]) -> FittedHead:
        ridges = config.ridges if like is None else (getattr(like, name).ridge,)
        return fit_head(rows, features, ridges)

    return FittedHeads(
        hit=fitted("hit", every, config.features),
        pooled=fitted("pooled", every, POOLED_FEATURES),
        first_hit=fitted("first_hit", first_rows, FIRST_HIT_FEATURES),
    )


def hit_data(collected: CalibrationHits, config: CalibrationConfig) -> HeadData:
    """Return what the hit and pooled heads are fitted on."""
    hits = collected.hits
    return _head_data(hits, collected.source, hits.features().columns(), config)


def fit_head(data: HeadData, features: Sequence[str], ridges: Sequence[float]) -> FittedHead:
    """Fit one head with the ridge that cross-validation over documents likes best.

    Where there is one candidate it is taken, without cross-validation. A feature whose weight
    would be against its law, as chance has it where the feature says little, is left out.
    """
    x = np.column_stack([data.columns[name] for name in features])
    design = np.column_stack([x, data.offsets, *_own_slopes(x, features, data.offsets)])
    choice = choose_ridge(
        design,
        data.relevant,
        data.documents,
        ridges,
        weights=data.weights,
        folds=data.folds,
        seed=data.seed,
    )
    fit = fit_logistic(design, data.relevant, penalty=choice.penalty, weights=data.weights)
    served = [*range(len(features)), design.shape[1]]
    covariance = cluster_covariance(
        design,
        data.relevant,
        data.documents,
        fit,
        ridge=choice.penalty.ridge,
        weights=data.weights,
    )[np.ix_(served, served)]
    head = LinearHead(
        features=tuple(features),
        coef=tuple(fit.coef[: len(features)].tolist()),
        intercept=fit.intercept,
        covariance=tuple(tuple(row[: n + 1].tolist()) for n, row in enumerate(covariance)),
    )
    if wrong := against_their_law(head):
        return fit_head(data, [name for name in features if name not in wrong], ridges)
    if not head.weight("score") > 0.0:
        raise CalibrationError(
            "The fitted probability does not rise with the score: the judged hits say that "
            "better scores are less relevant. Look at the encoder and at the judgements."
        )
    return FittedHead(head, fit, choice.penalty.ridge, choice.nll)


def _own_slopes(x: FloatArray, features: Sequence[str], offsets: FloatArray) -> list[FloatArray]:
    """Return columns that leave nothing to sources with a level of their own but ``same``.

    A head without that feature, which cannot tell the relations apart, gets none: it is to learn
    from hits of both.
    """
    if "same" not in features:
        return []
    return [
        offsets * x[:, [number]]
        for number, name in enumerate(features)
        if not name.startswith("same")
    ]


def calibrator_text(
    heads: FittedHeads,
    collected: CalibrationHits,
    *,
    binding: EncoderBinding,
    data_sha256: str,
    measured: Mapping[str, JsonValue],
) -> str:
    """Return the JSON text of ``calibrator.json``.

    Args:
        heads: Its parameters.
        collected: What they were fitted on.
        binding: Of the encoder.
        data_sha256: Of the sets.
        measured: Its members ``metrics``, ``thresholds`` and ``evidence``, those that there are.

    Raises:
        CalibrationError: The parameters break a law of probabilities.
    """
    hits = collected.hits
    languages = set(hits.query_language.tolist()) | set(hits.passage_language.tolist())
    content: dict[str, Any] = {
        "schema": CALIBRATOR_SCHEMA,
        "kind": "logit-linear",
        "encoder": binding.model_dump(),
        "score": "cosine",
        "depth": DEPTH,
        "background": BACKGROUND.model_dump(),
        "hit": heads.hit.head.model_dump(mode="json"),
        "pooled": heads.pooled.head.model_dump(mode="json"),
        "first_hit": heads.first_hit.head.model_dump(mode="json"),
        "clip": list(CLIP),
        "interval": {
            "level": INTERVAL_LEVEL,
            "method": "cluster-sandwich",
            "clusters": "document",
        },
        "trained_range": {
            "score": [float(hits.score.min()), float(hits.score.max())],
            "corpus": [float(hits.corpus.min()), float(hits.corpus.max())],
        },
        "fit": {
            "hits": len(hits),
            "queries": collected.queries,
            "relevant": int(hits.relevant.sum()),
            "languages": sorted(languages),
            "corpus_sizes": list(collected.corpus_sizes),
            "data_sha256": data_sha256,
            "nll": _nll_before_and_after(heads, hits),
            "fitted": datetime.now(UTC).date().isoformat(),
        },
        **measured,
    }
    return dump_calibrator(content)


def balanced_weights(source: RowArray, same: BoolArray) -> FloatArray:
    """Return weights with the same sum for every source in each relation, their mean 1."""
    _, group = np.unique(2 * source + same, return_inverse=True)
    size: FloatArray = np.bincount(group)[group].astype(np.float64)
    weights: FloatArray = 1.0 / size
    weights *= len(weights) / weights.sum()
    return weights


def _head_data(
    hits: HitTable,
    source: RowArray,
    columns: Mapping[str, FloatArray],
    config: CalibrationConfig,
) -> HeadData:
    own_level = [number for number, s in enumerate(config.sources) if s.own_level]
    present = [number for number in own_level if (source == number).any()]
    if not len(hits):
        raise CalibrationError("No judged hit was found: the sets and the encoder do not match.")
    return HeadData(
        columns=columns,
        relevant=hits.relevant.astype(np.float64),
        weights=balanced_weights(source, hits.same),
        offsets=(source[:, None] == np.array(present, dtype=np.int64)).astype(np.float64),
        documents=hits.cluster,
        folds=config.folds,
        seed=config.seed,
    )


def _nll_before_and_after(heads: FittedHeads, hits: HitTable) -> list[float]:
    y = hits.relevant.astype(np.float64)
    p = sigmoid(heads.hit.head.logit(hits.features().columns()))
    return [_nll(np.full(len(y), y.mean()), y), _nll(p, y)]


def _nll(p: FloatArray, y: FloatArray) -> float:
    clipped = np.clip(p, 1e-12, 1.0 - 1e-12)
    return float(-(y * np.log(clipped) + (1.0 - y) * np.log1p(-clipped)).mean())
