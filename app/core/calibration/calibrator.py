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

Language offsets of the document, where it has any, are added for the query's and the passage's
language. This module only evaluates, with numpy in float64; ``fit*.py`` beside it fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import NormalDist

import numpy as np

from app.core.calibration.compiled import CompiledHeads, Parts, QueryLanguages, parts_of
from app.core.calibration.document import CalibratorDocument, RankRange
from app.core.calibration.standing import Standings, standings
from app.core.types import UNDETERMINED, BoolArray, FloatArray


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
        interval: Lower and upper end of the probabilities' intervals, float64 of shape (2, n);
            ``None`` where the document says nothing of them. Each holds its probability.
    """

    probability: FloatArray
    extrapolated: BoolArray
    source: tuple[str, ...]
    answerable: float
    standings: Standings
    interval: FloatArray | None = None


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
    return float(np.add.reduce(tail)) / tail.size if tail.size else float(scores[-1])


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
        self._heads = CompiledHeads(document.hit, document.pooled)
        self._labelled = frozenset(document.fit.languages)
        interval = document.interval
        self._deviations = NormalDist().inv_cdf((1 + interval.level) / 2) if interval else None

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
        scores, document = served.scores, self.document
        stand = standings(
            scores, served.passage_languages, served.language_sizes, document.background
        )
        if not len(scores):
            empty = np.zeros(0)
            return CalibratedList(empty, np.zeros(0, dtype=np.bool_), (), 0.0, stand)
        background = background_score(scores, document.background)
        log_corpus = log(served.corpus_size)
        query = QueryLanguages(served.query_posterior, document.language_offsets)
        sources = [self._source(language, query) for language in stand.languages]
        stated = self._stated(scores, stand, parts_of(stand, query), (background, log_corpus))
        return CalibratedList(
            probability=stated[0],
            extrapolated=self._extrapolated(served),
            source=tuple([sources[at] for at in stand.language]),
            answerable=self._answerable(scores, stand, query, (background, log_corpus)),
            standings=stand,
            interval=stated[1:] if self._deviations is not None else None,
        )

    def _stated(
        self,
        scores: FloatArray,
        stand: Standings,
        parts: Parts,
        shared: tuple[float, float],
    ) -> FloatArray:
        """Return probabilities, and the ends of their intervals if there are any, (1 or 3, n).

        Args:
            scores: Shape (n,).
            stand: How the hits stand in their languages.
            parts: What the probability of each hit is averaged from.
            shared: Background and log N of the list.
        """
        hits = np.array([scores, stand.rank, stand.lead, stand.lag, stand.size])
        hits[1::3] = np.log(hits[1::3])
        logits = self._heads.logits(hits, *shared)
        logit = parts.of(logits) + parts.intercept + parts.slope * scores
        levels = logit[None]
        if self._deviations is not None:
            variance = parts.of(self._heads.variances(hits, *shared)) + parts.variance
            # Rounding may leave a variance of 0 a hair below it.
            width = self._deviations * np.sqrt(np.maximum(variance, 0.0))
            levels = np.array([logit, logit - width, logit + width])
        stated: FloatArray = np.add.reduce(parts.share * self._squash(levels), axis=1)
        return stated

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

    def _source(self, passage_language: str, query: QueryLanguages) -> str:
        """Return ``CalibratedList.source`` for the hits of a language."""
        if passage_language == UNDETERMINED or query.known <= 0.0:
            return "pooled"
        same = query.same(passage_language)
        if max(same, query.known - same) < _CERTAIN:
            return "mixture"
        fitted = query.likeliest in self._labelled and passage_language in self._labelled
        return f"{'relation' if fitted else 'fallback'}:{'same' if same >= _CERTAIN else 'cross'}"

    def _answerable(
        self,
        scores: FloatArray,
        stand: Standings,
        query: QueryLanguages,
        shared: tuple[float, float],
    ) -> float:
        background, log_corpus = shared
        first = float(scores[0])
        columns = {
            "score": first,
            "gap": first - (float(scores[1]) if len(scores) > 1 else background),
            "language_lead": stand.lead[0],
            "background": background,
            "log_corpus": log_corpus,
            "log_language_corpus": log(stand.size[0]),
            "same": query.same(stand.languages[0]),
        }
        head = self.document.first_hit
        terms = (c * columns[f] for f, c in zip(head.features, head.coef, strict=True))
        return float(self._squash(np.array(sum(terms) + head.intercept)))


_CERTAIN = 1.0 - 1e-6
