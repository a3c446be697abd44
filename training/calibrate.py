"""Fits a calibrator on judged hits of served lists: the line of the score, then its three heads.

Every source weighs the same in each relation, however many hits it has. ``calibration_pieces.py``
fits the line, ``calibration_heads.py`` a head.
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
    dump_calibrator,
)
from app.core.calibration.score_pieces import ScorePieces
from app.core.calibration.words import WORD_FEATURE
from app.core.errors import CalibrationError
from app.core.types import BoolArray, FloatArray, JsonValue
from training.calibration_config import CalibrationConfig
from training.calibration_data import CalibrationHits
from training.calibration_heads import FittedHead, HeadData, fit_head
from training.calibration_pieces import FittedPieces, fit_pieces, line_of
from training.calibration_words import fit_with_words
from training.retrieval_set import RowArray
from training.served import BACKGROUND, DEPTH, HitTable
from training.served_hybrid import HybridHits

CLIP = (0.0001, 0.9999)
INTERVAL_LEVEL = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class FittedHeads:
    """The three heads of a calibrator, and the line that they read the score through.

    Attributes:
        hit: Of hits whose languages are known.
        pooled: Of hits one of whose languages is not known.
        first_hit: Of the question whether the first hit is relevant.
        pieces: The line; ``None`` where it is straight.
    """

    hit: FittedHead
    pooled: FittedHead
    first_hit: FittedHead
    pieces: FittedPieces | None = None

    @property
    def line(self) -> ScorePieces | None:
        """What the heads read the score through; ``None`` for the score itself."""
        return line_of(self.pieces)


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
    answered = collected.where(collected.answered)
    hit, pieces = fit_hit_head(answered, config, like=like)
    line = line_of(pieces)
    every = hit_data(answered, config, line)
    first = collected.where(collected.hits.rank == 1)
    first_rows = _head_data(first.hits, first.source, first.hits.first_hit_columns(line), config)
    ridges = {name: _ridges(name, config, like) for name in ("pooled", "first_hit")}
    words = (WORD_FEATURE,) if config.retrieval == "hybrid" else ()
    return FittedHeads(
        hit=hit,
        pooled=fit_head(every, (*POOLED_FEATURES, *words), ridges["pooled"]),
        first_hit=fit_head(first_rows, FIRST_HIT_FEATURES, ridges["first_hit"]),
        pieces=pieces,
    )


def fit_hit_head(
    collected: CalibrationHits, config: CalibrationConfig, *, like: FittedHeads | None = None
) -> tuple[FittedHead, FittedPieces | None]:
    """Fit the hit head, and the line that all heads read the score through; as ``fit_heads``.

    Args:
        collected: Hits of corpora that hold an answer.
        config: Says what is fitted.
        like: Heads whose ridges are taken over.
    """
    pieces = None
    if config.score_pieces > 1:
        pieces = fit_pieces(
            hit_data(collected, config, None),
            config.features,
            config.score_pieces,
            _ridges("pieces", config, like),
        )
    data = hit_data(collected, config, line_of(pieces))
    head = fit_head(data, config.features, _ridges("hit", config, like))
    if config.retrieval == "hybrid":
        # In the query's language by words as well; in others words say nothing.
        own = collected.where(_in_one_language(collected, config))
        data = hit_data(own, config, line_of(pieces))
        head = fit_with_words(head, data, _ridges("hit", config, like))
    return head, pieces


def _in_one_language(collected: CalibrationHits, config: CalibrationConfig) -> BoolArray:
    """Return the same-language hits of sources whose level is served."""
    coarse = [number for number, source in enumerate(config.sources) if source.own_level]
    mask: BoolArray = collected.hits.same & ~np.isin(collected.source, coarse)
    return mask


def hit_data(
    collected: CalibrationHits, config: CalibrationConfig, line: ScorePieces | None
) -> HeadData:
    """Return what the hit and pooled heads are fitted on, the score read through a line."""
    hits = collected.hits
    return _head_data(hits, collected.source, hits.features().columns(line), config)


def _ridges(name: str, config: CalibrationConfig, like: FittedHeads | None) -> Sequence[float]:
    return config.ridges if like is None else (getattr(like, name).ridge,)


def calibrator_text(
    heads: FittedHeads,
    collected: CalibrationHits,
    *,
    binding: EncoderBinding,
    data_sha256: str,
    measured: Mapping[str, JsonValue],
) -> str:
    """Return the JSON text of ``calibrator.json``, or that of hybrid lists.

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
        **({"retrieval": "hybrid"} if isinstance(hits, HybridHits) else {}),
        "depth": DEPTH,
        "background": BACKGROUND.model_dump(),
        "hit": heads.hit.head.model_dump(mode="json"),
        "pooled": heads.pooled.head.model_dump(mode="json"),
        "first_hit": heads.first_hit.head.model_dump(mode="json"),
        **({} if heads.line is None else {"score_pieces": heads.line.model_dump(mode="json")}),
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
    p = sigmoid(heads.hit.head.logit(hits.features().columns(heads.line)))
    return [_nll(np.full(len(y), y.mean()), y), _nll(p, y)]


def _nll(p: FloatArray, y: FloatArray) -> float:
    clipped = np.clip(p, 1e-12, 1.0 - 1e-12)
    return float(-(y * np.log(clipped) + (1.0 - y) * np.log1p(-clipped)).mean())
