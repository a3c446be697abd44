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

In hybrid lists one more feature says how well the words of a hit fit those of the query
(``words.py``). A document says which lists it is for.

Language offsets of the document, where it has any, are added for the query's and the passage's
language. Where it has pieces of the score, ``s`` is read through them (``score_pieces.py``).
This module only evaluates, with numpy in float64; ``fit*.py`` beside it fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import exp, log
from statistics import NormalDist

import numpy as np

from app.core.calibration.compiled import (
    CompiledHeads,
    HitParts,
    QueryLanguages,
    QueryView,
    laid_out,
)
from app.core.calibration.document import CalibratorDocument
from app.core.calibration.lists import (
    CalibratedList,
    HitFeatures,
    ServedList,
    background_score,
)
from app.core.calibration.standing import Standings, standings
from app.core.calibration.words import log_lexical_rank
from app.core.types import BoolArray, FloatArray

LARGEST_EXPONENT = 709.0
"""The exponential of more than that is not finite."""


def sigmoid(logit: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-logit)) without overflow, exact to the last digits near 0 too."""
    odds_against: FloatArray = np.exp(np.minimum(-logit, LARGEST_EXPONENT))
    odds_against += 1.0
    result: FloatArray = np.divide(1.0, odds_against)
    return result


_DECLARED = 64
"""So many declared query languages are remembered."""


class Calibrator:
    """Evaluates a calibrator document. Immutable and thread-safe."""

    def __init__(self, document: CalibratorDocument) -> None:
        self.document = document
        self._heads = CompiledHeads(
            document.hit, document.pooled, words=document.retrieval == "hybrid"
        )
        self._labelled = frozenset(document.fit.languages)
        interval = document.interval
        self._pieces = document.score_pieces
        self._read = None if self._pieces is None else self._pieces.reader()
        self._plain = document.language_offsets.are_none()
        self._declared = lru_cache(maxsize=_DECLARED)(self._certain_view)
        head = document.first_hit
        self._first_hit = tuple(zip(head.features, head.coef, strict=True))
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
        words = self._words(served)
        stand = standings(
            scores,
            served.passage_languages,
            served.language_sizes,
            document.background,
            by_words=words is not None,
        )
        if not len(scores):
            empty = np.zeros(0)
            return CalibratedList(empty, np.zeros(0, dtype=np.bool_), (), 0.0, None, stand)
        # Of the list that the standings have made: to sum that up takes a third of the time.
        shared = background_score(stand.score, document.background), log(served.corpus_size)
        query = self._view(served.query_posterior)
        judged = query.each(stand.languages)
        read = scores if self._read is None else self._read(scores)
        hits, parts = laid_out(scores, read, stand, judged, plain=self._plain, words=words)
        stated = self._stated(hits, parts, shared)
        return CalibratedList(
            probability=stated[0],
            extrapolated=self._extrapolated(stand.score, served.corpus_size),
            language_source=[one.source for one in judged],
            answerable=self._answerable(scores, read, stand, query.languages, shared),
            background=shared[0],
            standings=stand,
            interval=stated[1:] if self._deviations is not None else None,
        )

    def _words(self, served: ServedList) -> FloatArray | None:
        ranks = served.lexical_ranks
        assert (ranks is not None) == (self.document.retrieval == "hybrid")
        return None if ranks is None else log_lexical_rank(ranks)

    def _view(self, posterior: Mapping[str, float]) -> QueryView:
        if len(posterior) == 1:
            ((language, probability),) = posterior.items()
            if probability == 1.0:
                return self._declared(language)
        return self._fresh_view(posterior)

    def _fresh_view(self, posterior: Mapping[str, float]) -> QueryView:
        query = QueryLanguages(posterior, self.document.language_offsets)
        return QueryView(query, self._labelled, plain=self._plain)

    def _certain_view(self, language: str) -> QueryView:
        return self._fresh_view({language: 1.0})

    def _stated(self, hits: FloatArray, parts: HitParts, shared: tuple[float, float]) -> FloatArray:
        """Return probabilities, and the ends of their intervals if there are any, (1 or 3, n).

        Args:
            hits: ``u`` of the hits, see ``laid_out``.
            parts: What the probability of each hit is averaged from.
            shared: Background and log N of the list.
        """
        deviations, offsets = self._deviations, parts.offsets
        every, variances = self._heads.logits(hits, *shared, varying=deviations is not None)
        against = every.ravel().take(parts.place)
        if offsets is not None:
            against -= offsets.intercept + offsets.slope * hits[1]
        levels = against[None]
        if deviations is not None:
            variance = variances.ravel().take(parts.place)
            if offsets is not None:
                variance += offsets.variance
            width = np.sqrt(variance, out=variance)
            width *= deviations
            levels = np.empty((3, *against.shape))
            levels[0] = against
            np.add(against, width, out=levels[1])
            np.subtract(against, width, out=levels[2])
        squashed = self._squash_against(levels)
        if parts.share is None:
            return squashed[:, 0]
        stated: FloatArray = np.add.reduce(parts.share * squashed, axis=1)
        return stated

    def hit_probability(self, hits: HitFeatures) -> FloatArray:
        """Return P(relevant) of hits whose relation is known, float64 of shape (n,)."""
        return self._squash(self.document.hit.logit(hits.columns(self._pieces)))

    def pooled_probability(self, hits: HitFeatures) -> FloatArray:
        """Return P(relevant) of hits whose relation is not known, float64 of shape (n,)."""
        return self._squash(self.document.pooled.logit(hits.columns(self._pieces)))

    def first_hit_probability(self, columns: Mapping[str, FloatArray]) -> FloatArray:
        """Return P(the first hit is relevant) from columns named as ``FIRST_HIT_FEATURES``."""
        if self._pieces is not None:
            columns = {**columns, "score": self._pieces.read(columns["score"])}
        return self._squash(self.document.first_hit.logit(columns))

    def _squash(self, logit: FloatArray) -> FloatArray:
        return self._squash_against(-logit)

    def _squash_against(self, against: FloatArray) -> FloatArray:
        """Return the probabilities of negated logits, in their place."""
        # Scaled into the clip range rather than cut at it, so that it stays strictly increasing.
        low, high = self.document.clip
        odds = np.minimum(against, LARGEST_EXPONENT, out=against)
        np.exp(odds, out=odds)
        odds += 1.0
        np.divide(high - low, odds, out=odds)
        odds += low
        return odds

    def _extrapolated(self, scores: Sequence[float], corpus_size: int) -> BoolArray:
        low, high = self.document.trained_range.score
        smallest, largest = self.document.trained_range.corpus
        if not smallest <= corpus_size <= largest:
            return np.ones(len(scores), dtype=np.bool_)
        if scores[0] <= high and scores[-1] >= low:
            return np.zeros(len(scores), dtype=np.bool_)
        return np.array([not low <= score <= high for score in scores])

    def _answerable(
        self,
        scores: FloatArray,
        read: FloatArray,
        stand: Standings,
        query: QueryLanguages,
        shared: tuple[float, float],
    ) -> float:
        background, log_corpus = shared
        first = float(scores[0])
        values = {
            "score": float(read[0]),
            "gap": first - (float(scores[1]) if len(scores) > 1 else background),
            "language_lead": stand.lead[0],
            "background": background,
            "log_corpus": log_corpus,
            "log_language_corpus": log(stand.size[0]),
            "same": query.same(stand.languages[0]),
        }
        logit = self.document.first_hit.intercept
        for feature, weight in self._first_hit:
            logit += weight * values[feature]
        low, high = self.document.clip
        return low + (high - low) / (1.0 + exp(min(-logit, LARGEST_EXPONENT)))
