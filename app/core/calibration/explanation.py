"""Where a probability comes from: features, weights, and what each adds to the logit.

A hit's probability is a mixture of at most three heads of the calibrator: query and passage in
the same language, in different ones, or not known. Each head is linear, so what a feature adds to
its logit is exactly weight times value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.core.calibration.calibrator import (
    Calibrator,
    HitFeatures,
    LanguageStanding,
    relation_posterior,
)
from app.core.calibration.parts import LinearHead
from app.core.types import FloatArray

HeadName = Literal["same", "cross", "pooled"]


@dataclass(frozen=True, slots=True)
class HitPosition:
    """A hit as a calibrator sees it.

    Attributes:
        score: Its cosine.
        language: Primary language of the passage, ``und`` where it is not known.
        standing: How it stands among the passages of its language.
        background: Mean score of the background ranks of its list.
        corpus_size: Number of eligible passages.
        query_posterior: Primary language of the query to probability.
    """

    score: float
    language: str
    standing: LanguageStanding
    background: float
    corpus_size: int
    query_posterior: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of a logit: ``contribution`` is ``weight`` times ``value``."""

    feature: str
    value: float
    weight: float
    contribution: float


@dataclass(frozen=True, slots=True)
class HeadExplanation:
    """What one head of the calibrator says of a hit.

    Attributes:
        head: Which head.
        share: How much of the probability is taken from it, 0 to 1.
        terms: Summands of its logit.
        intercept: The constant of its logit.
        logit: Sum of the contributions and the intercept.
        probability: The logit squashed into the calibrator's range.
    """

    head: HeadName
    share: float
    terms: tuple[Term, ...]
    intercept: float
    logit: float
    probability: float


@dataclass(frozen=True, slots=True)
class HitExplanation:
    """Where the probability of a hit comes from.

    Attributes:
        calibrator: Id of the calibrator.
        heads: The heads with a share; the probability is the sum of their shares times their
            probabilities. Empty unless asked for in full.
    """

    calibrator: str
    heads: tuple[HeadExplanation, ...]


def explain_hit(calibrator: Calibrator, hit: HitPosition, *, full: bool) -> HitExplanation:
    """Return where the probability of a hit comes from.

    Args:
        calibrator: The one that stated it.
        hit: What it was stated for.
        full: Whether to take the logits apart.
    """
    if not full:
        return HitExplanation(calibrator.id, ())
    same, cross = relation_posterior(hit.language, hit.query_posterior)
    shares: dict[HeadName, float] = {"same": same, "cross": cross, "pooled": 1.0 - same - cross}
    return HitExplanation(
        calibrator.id,
        tuple(_head(calibrator, hit, name, share) for name, share in shares.items() if share > 0.0),
    )


def score_offsets(calibrator: Calibrator, hits: Sequence[HitPosition]) -> FloatArray:
    """Return how much higher cross-language hits score than equal same-language ones.

    Equal is what has the same probability. Below 0, passages in other languages get lower scores
    for the same relevance, which the calibrator makes up for.

    Returns:
        float64 of shape (len(hits),), in units of the score.
    """
    document = calibrator.document
    cross = document.hit.logit(hit_features(hits, same=False).columns())
    without_score = hit_features(hits, same=True).columns()
    scores = without_score["score"]
    without_score["score"] = without_score["same*score"] = np.zeros(len(hits))
    level = document.hit.logit(without_score)
    slope = document.hit.weight("score") + document.hit.weight("same*score")
    offsets: FloatArray = scores - (cross - level) / slope
    return offsets


def hit_features(hits: Sequence[HitPosition], *, same: bool) -> HitFeatures:
    """Return the features of hits under one relation, arrays of shape (len(hits),)."""
    rank, lead, lag, size = np.array([hit.standing for hit in hits]).T
    return HitFeatures(
        score=np.array([hit.score for hit in hits]),
        background=np.array([hit.background for hit in hits]),
        log_corpus=np.log([hit.corpus_size for hit in hits]),
        log_language_corpus=np.log(size),
        log_language_rank=np.log(rank),
        language_lead=lead,
        language_lag=lag,
        same=np.full(len(hits), float(same)),
    )


def _head(
    calibrator: Calibrator, hit: HitPosition, name: HeadName, share: float
) -> HeadExplanation:
    features = hit_features([hit], same=name == "same")
    head: LinearHead = calibrator.document.pooled if name == "pooled" else calibrator.document.hit
    squash = calibrator.pooled_probability if name == "pooled" else calibrator.hit_probability
    columns = features.columns()
    terms = tuple(
        Term(feature, float(columns[feature][0]), weight, weight * float(columns[feature][0]))
        for feature, weight in zip(head.features, head.coef, strict=True)
    )
    probability: FloatArray = squash(features)
    return HeadExplanation(
        head=name,
        share=share,
        terms=terms,
        intercept=head.intercept,
        logit=float(head.logit(columns)[0]),
        probability=float(probability[0]),
    )
