"""Where a probability comes from: features, weights, and what each adds to the logit.

A hit's probability is a mixture of the heads of the calibrator: query and passage in the same
language, in different ones (once for each query language that has an offset), or not known. Each
head is linear, so what a feature adds to its logit is exactly weight times value; the offset of a
language is such a summand too. The score is one feature, however many pieces it is read through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.core.calibration.calibrator import Calibrator, sigmoid
from app.core.calibration.compiled import QueryLanguages, Relation, Share
from app.core.calibration.lists import HitFeatures
from app.core.calibration.parts import LanguageOffset, LinearHead
from app.core.calibration.standing import LanguageStanding
from app.core.calibration.words import log_lexical_rank
from app.core.types import FloatArray


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
        lexical_rank: As ``ServedList.lexical_ranks``; ``None`` where the list is dense.
    """

    score: float
    language: str
    standing: LanguageStanding
    background: float
    corpus_size: int
    query_posterior: Mapping[str, float]
    lexical_rank: int | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of a logit: ``contribution`` is ``weight`` times ``value``.

    The value of ``score`` is the score as the head reads it, through the pieces if there are any.
    """

    feature: str
    value: float
    weight: float
    contribution: float


@dataclass(frozen=True, slots=True)
class HeadExplanation:
    """What one head of the calibrator says of a hit.

    Attributes:
        head: Which head.
        query_language: The query language it speaks for; empty where it is none in particular.
        share: How much of the probability is taken from it, 0 to 1.
        terms: Summands of its logit.
        intercept: The constant of its logit.
        logit: Sum of the contributions and the intercept.
        probability: The logit squashed into the calibrator's range.
    """

    head: Relation
    query_language: str
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
    query = QueryLanguages(hit.query_posterior, calibrator.document.language_offsets)
    parts = query.split(hit.language)
    return HitExplanation(calibrator.id, tuple(_head(calibrator, hit, part) for part in parts))


def score_offsets(
    calibrator: Calibrator, hits: Sequence[HitPosition], query_language: str
) -> FloatArray:
    """Return how much higher cross-language hits score than equal same-language ones.

    Equal is what has the same probability. Below 0, passages in other languages get lower scores
    for the same relevance, which the calibrator makes up for.

    Args:
        calibrator: Says what is equal.
        hits: Cross-language hits.
        query_language: Primary language of the query.

    Returns:
        float64 of shape (len(hits),), in units of the score.
    """
    head, offsets = calibrator.document.hit, calibrator.document.language_offsets
    pieces = calibrator.document.score_pieces
    features = hit_features(hits, same=True)
    columns = features.columns(pieces)
    read = columns["score"]
    passages = [offsets.of_passage(hit.language) for hit in hits]
    here = offsets.of_passage(query_language)
    query = offsets.of_query(query_language)
    cross = head.logit(hit_features(hits, same=False).columns(pieces))
    cross += np.array([o.intercept for o in passages])
    cross += (np.array([o.slope for o in passages]) + query.slope) * read
    columns["score"] = columns["same*score"] = np.zeros(len(hits))
    level = head.logit(columns) + here.intercept
    slope = head.weight("score") + head.weight("same*score") + here.slope + query.slope
    there = (cross - level) / slope
    apart: FloatArray = features.score - (there if pieces is None else pieces.unread(there))
    return apart


def hit_features(hits: Sequence[HitPosition], *, same: bool) -> HitFeatures:
    """Return the features of hits under one relation, arrays of shape (len(hits),)."""
    rank, lead, lag, size = np.array([hit.standing for hit in hits]).T
    by_words = [hit.lexical_rank for hit in hits if hit.lexical_rank is not None]
    return HitFeatures(
        score=np.array([hit.score for hit in hits]),
        background=np.array([hit.background for hit in hits]),
        log_corpus=np.log([hit.corpus_size for hit in hits]),
        log_language_corpus=np.log(size),
        log_language_rank=np.log(rank),
        language_lead=lead,
        language_lag=lag,
        same=np.full(len(hits), float(same)),
        log_lexical_rank=log_lexical_rank(np.array(by_words)) if by_words else None,
    )


def _head(calibrator: Calibrator, hit: HitPosition, part: Share) -> HeadExplanation:
    pooled = part.relation == "pooled"
    head: LinearHead = calibrator.document.pooled if pooled else calibrator.document.hit
    features = hit_features([hit], same=part.relation == "same")
    columns = features.columns(calibrator.document.score_pieces)
    score = float(columns["score"][0])
    terms = [
        Term(feature, float(columns[feature][0]), weight, weight * float(columns[feature][0]))
        for feature, weight in zip(head.features, head.coef, strict=True)
    ]
    terms += _offset_terms("query_language", part.query_offset, score)
    terms += _offset_terms("passage_language", part.passage_offset, score)
    logit = head.intercept + sum(term.contribution for term in terms)
    low, high = calibrator.document.clip
    return HeadExplanation(
        head=part.relation,
        query_language=part.query_language,
        share=part.share,
        terms=tuple(terms),
        intercept=head.intercept,
        logit=logit,
        probability=low + (high - low) * float(sigmoid(np.array(logit))),
    )


def _offset_terms(side: str, offset: LanguageOffset, score: float) -> list[Term]:
    """Return what the language of the query or the passage adds, nothing where it is nothing."""
    terms = []
    if offset.intercept:
        terms.append(Term(side, 1.0, offset.intercept, offset.intercept))
    if offset.slope:
        terms.append(Term(f"{side}*score", score, offset.slope, offset.slope * score))
    return terms
