"""From scores to probabilities of relevance: evaluating a calibrator.

A calibrator is a small JSON document (``app/core/calibration/document.py``). For a hit with score
``s`` (cosine) in a list served from ``N`` eligible passages its logit is linear::

    logit P(relevant) = a*s + c*background + g*log N + h*log M + r*log R
                        + u*lead + v*lag + d*same + e*same*s + b

``background`` is the mean score of ranks 21 to 60 of the same list: it removes the level that
belongs to the query and that contrastive training does not identify (Yan et al. 2022, KDD).
``log N`` moves the prior when the corpus grows; its weight is learned on a ladder of corpus
sizes. ``same`` is 1 where query and passage language agree, else 0.

Passages of one language compete for being the answer, translations do not. So there are ``M``,
the number of eligible passages in the hit's language; ``R``, the hit's rank among the hits of its
language; ``lead``, by how much the best hit of a language beats the next one; and ``lag``, by how
much the others score less than the best. ``docs/decisions/0004`` has what each of them is worth
on data sets that the fit has not seen. A document names the features that it uses.

Fitting lives in ``training/calibrate.py``; this module only evaluates, with numpy in float64.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.core.calibration.document import CalibratorDocument, RankRange
from app.core.types import UNDETERMINED, BoolArray, FloatArray


class LanguageStanding(NamedTuple):
    """How a hit stands among the passages of its language.

    Attributes:
        rank: Its rank, from 1, among the hits of its language.
        lead: For the best hit of a language, by how much it beats the next one; else 0.
        lag: By how much it scores less than the best hit of its language.
        size: Number of eligible passages in its language.
    """

    rank: int
    lead: float
    lag: float
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class HitFeatures:
    """What a calibrator looks at, one entry a hit; float64 arrays of shape (n,).

    Attributes:
        score: Cosine of query and passage.
        background: Mean score of the background ranks of the hit's list.
        log_corpus: Natural logarithm of the number of eligible passages.
        log_language_corpus: The same of those in the hit's language.
        log_language_rank: Natural logarithm of the hit's rank, from 1, among the hits of its
            language in the list.
        language_lead: Its lead in its language (``LanguageStanding``).
        language_lag: Its lag in its language.
        same: 1 where query and passage language agree, else 0.
    """

    score: FloatArray
    background: FloatArray
    log_corpus: FloatArray
    log_language_corpus: FloatArray
    log_language_rank: FloatArray
    language_lead: FloatArray
    language_lag: FloatArray
    same: FloatArray

    def columns(self) -> dict[str, FloatArray]:
        """Return every feature a hit head may name, products included."""
        return {
            "score": self.score,
            "background": self.background,
            "log_corpus": self.log_corpus,
            "log_language_corpus": self.log_language_corpus,
            "log_language_rank": self.log_language_rank,
            "language_lead": self.language_lead,
            "language_lag": self.language_lag,
            "same": self.same,
            "same*score": self.same * self.score,
            "same*background": self.same * self.background,
            "same*log_corpus": self.same * self.log_corpus,
            "same*log_language_rank": self.same * self.log_language_rank,
        }


@dataclass(frozen=True, slots=True, eq=False)
class ServedList:
    """The best passages for one query, as a store returned them.

    Attributes:
        scores: Cosines in descending order, float64 of shape (n,); n reaches the last
            background rank unless fewer passages are eligible.
        passage_languages: Primary language subtags of the hits, ``und`` where not known.
        query_posterior: Primary language subtag to probability; what is missing to 1 is the
            probability of an unknown language.
        corpus_size: Number of eligible passages, at least n.
        language_sizes: Primary language subtag to the number of them in that language; where one
            is missing or too small, its hits are counted.
    """

    scores: FloatArray
    passage_languages: Sequence[str]
    query_posterior: Mapping[str, float]
    corpus_size: int
    language_sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedList:
    """Probabilities for a served list, in its order.

    Attributes:
        probability: P(hit is relevant), float64 of shape (n,).
        extrapolated: Whether score or corpus size lie outside what the fit has seen.
        source: Which part of the calibrator spoke, one word a hit: ``relation:same``,
            ``relation:cross`` (query and passage language known, both with labels),
            ``fallback:same``, ``fallback:cross`` (known, but one had no labels in the fit),
            ``mixture`` (query language uncertain: averaged over its posterior), ``pooled``
            (a language is not known).
        answerable: P(the first hit is relevant); 0 for an empty list.
        standings: How the hits stand in their languages.
    """

    probability: FloatArray
    extrapolated: BoolArray
    source: tuple[str, ...]
    answerable: float
    standings: Sequence[LanguageStanding]


def sigmoid(logit: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-logit)) without overflow, exact to the last digits near 0 too."""
    small = np.exp(-np.abs(logit))
    result: FloatArray = np.where(logit >= 0.0, 1.0, small) / (1.0 + small)
    return result


def background_score(scores: FloatArray, ranks: RankRange) -> float:
    """Return the mean score over the background ranks.

    A list that ends before those ranks has its last score as background: the nearest thing to
    the score of a passage that does not answer.

    Args:
        scores: Descending, float64 of shape (n,), n at least 1.
        ranks: The background ranks.
    """
    tail = scores[ranks.from_rank - 1 : ranks.to_rank]
    return float(tail.mean()) if tail.size else float(scores[-1])


def language_standings(
    scores: FloatArray,
    passage_languages: Sequence[str],
    language_sizes: Mapping[str, int],
    ranks: RankRange,
) -> list[LanguageStanding]:
    """Return how every hit of a list stands among the passages of its language.

    Nothing in it depends on how long the list is, beyond the last background rank: a lead is
    measured against the score at that rank where no other hit of the language scores more.

    Args:
        scores: Descending, float64 of shape (n,).
        passage_languages: Languages of the hits.
        language_sizes: As in ``ServedList``.
        ranks: The background ranks.
    """
    floor = float(scores[: ranks.to_rank].min(initial=np.inf))
    seen: dict[str, list[float]] = {}
    for language, score in zip(passage_languages, scores.tolist(), strict=True):
        seen.setdefault(language, []).append(score)
    ahead: Counter[str] = Counter()
    standings = []
    for language, score in zip(passage_languages, scores.tolist(), strict=True):
        ahead[language] += 1
        rank, (best, *others) = ahead[language], seen[language][:2]
        standings.append(
            LanguageStanding(
                rank=rank,
                lead=max(score - max([floor, *others]), 0.0) if rank == 1 else 0.0,
                lag=best - score,
                size=max(language_sizes.get(language, 0), len(seen[language])),
            )
        )
    return standings


def relation_posterior(
    passage_language: str, query_posterior: Mapping[str, float]
) -> tuple[float, float]:
    """Return P(same language) and P(another known language); the rest to 1 is not known.

    Args:
        passage_language: Primary language subtag, ``und`` where not known.
        query_posterior: Primary language subtag of the query to probability.
    """
    if passage_language == UNDETERMINED:
        return 0.0, 0.0
    same = query_posterior.get(passage_language, 0.0)
    return same, max(sum(query_posterior.values()) - same, 0.0)


class Calibrator:
    """Evaluates a calibrator document. Immutable and thread-safe."""

    def __init__(self, document: CalibratorDocument) -> None:
        self.document = document

    @property
    def id(self) -> str:
        """Twelve hex digits that name these parameters."""
        return self.document.id

    @property
    def candidates(self) -> int:
        """How many passages a served list must hold: up to the last background rank."""
        return self.document.background.to_rank

    def calibrate(self, served: ServedList) -> CalibratedList:
        """Return a probability for every hit of a list.

        An uncertain query language is marginalised: the probability is the mean over the
        posterior, with the pooled head for the part that belongs to no known language.
        """
        n = len(served.scores)
        if n == 0:
            empty = np.zeros(0)
            return CalibratedList(empty, np.zeros(0, dtype=np.bool_), (), 0.0, ())
        relation = {
            language: relation_posterior(language, served.query_posterior)
            for language in set(served.passage_languages)
        }
        p_same, p_cross = np.array([relation[code] for code in served.passage_languages]).T
        background = background_score(served.scores, self.document.background)
        log_corpus = float(np.log(served.corpus_size))
        standings = language_standings(
            served.scores,
            served.passage_languages,
            served.language_sizes,
            self.document.background,
        )
        rank, lead, lag, size = np.array(standings).T
        constant = np.ones(n)

        def features(same: float) -> HitFeatures:
            return HitFeatures(
                score=served.scores,
                background=background * constant,
                log_corpus=log_corpus * constant,
                log_language_corpus=np.log(size),
                log_language_rank=np.log(rank),
                language_lead=lead,
                language_lag=lag,
                same=same * constant,
            )

        probability = (
            p_same * self.hit_probability(features(1.0))
            + p_cross * self.hit_probability(features(0.0))
            + (1.0 - p_same - p_cross) * self.pooled_probability(features(0.0))
        )
        return CalibratedList(
            probability=probability,
            extrapolated=self._extrapolated(served),
            source=self._sources(served, relation),
            answerable=self._answerable(served, features(float(p_same[0]))),
            standings=standings,
        )

    def hit_probability(self, hits: HitFeatures) -> FloatArray:
        """Return P(relevant) of hits whose relation is known, float64 of shape (n,)."""
        return self._squash(self.document.hit.logit(hits.columns()))

    def pooled_probability(self, hits: HitFeatures) -> FloatArray:
        """Return P(relevant) of hits whose relation is not known, float64 of shape (n,)."""
        return self._squash(self.document.pooled.logit(hits.columns()))

    def first_hit_probability(self, columns: Mapping[str, FloatArray]) -> FloatArray:
        """Return P(the first hit is relevant) from columns named as ``FIRST_HIT_FEATURES``."""
        return self._squash(self.document.first_hit.logit(columns))

    def _squash(self, logit: FloatArray) -> FloatArray:
        # Scaled into the clip range rather than cut at it, so that it stays strictly increasing.
        low, high = self.document.clip
        return low + (high - low) * sigmoid(logit)

    def _extrapolated(self, served: ServedList) -> BoolArray:
        low, high = self.document.trained_range.score
        smallest, largest = self.document.trained_range.corpus
        if not smallest <= served.corpus_size <= largest:
            return np.ones(len(served.scores), dtype=np.bool_)
        return (served.scores < low) | (served.scores > high)

    def _sources(
        self, served: ServedList, relation: Mapping[str, tuple[float, float]]
    ) -> tuple[str, ...]:
        labelled = set(self.document.fit.languages)
        posterior = served.query_posterior
        query_language = max(posterior, key=posterior.__getitem__, default=UNDETERMINED)
        query_labelled = query_language in labelled
        source = {
            language: _source(same, cross, fitted=query_labelled and language in labelled)
            for language, (same, cross) in relation.items()
        }
        return tuple(source[language] for language in served.passage_languages)

    def _answerable(self, served: ServedList, hits: HitFeatures) -> float:
        following = served.scores[1:2] if len(served.scores) > 1 else hits.background[:1]
        columns = {name: column[:1] for name, column in hits.columns().items()}
        columns["gap"] = served.scores[:1] - following
        return float(self.first_hit_probability(columns)[0])


_CERTAIN = 1.0 - 1e-6


def _source(p_same: float, p_cross: float, *, fitted: bool) -> str:
    if p_same + p_cross <= 0.0:
        return "pooled"
    if max(p_same, p_cross) < _CERTAIN:
        return "mixture"
    relation = "same" if p_same > p_cross else "cross"
    return f"{'relation' if fitted else 'fallback'}:{relation}"
