"""What a calibrator looks at, and what it says: hits, served lists, and their probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.core.calibration.document import RankRange
from app.core.calibration.score_pieces import ScorePieces
from app.core.calibration.standing import Standings
from app.core.calibration.words import WORD_FEATURE
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
        log_lexical_rank: As ``words.log_lexical_rank``; ``None`` where the lists are dense.
    """

    score: FloatArray
    background: FloatArray
    log_corpus: FloatArray
    log_language_corpus: FloatArray
    log_language_rank: FloatArray
    language_lead: FloatArray
    language_lag: FloatArray
    same: FloatArray
    log_lexical_rank: FloatArray | None = field(default=None, kw_only=True)

    def columns(self, pieces: ScorePieces | None) -> dict[str, FloatArray]:
        """Return every feature a hit head may name, products included.

        Args:
            pieces: Those of the calibrator, which the score is read through.
        """
        score = self.score if pieces is None else pieces.read(self.score)
        return {
            "score": score,
            "background": self.background,
            "log_corpus": self.log_corpus,
            "log_language_corpus": self.log_language_corpus,
            "log_language_rank": self.log_language_rank,
            "language_lead": self.language_lead,
            "language_lag": self.language_lag,
            "same": self.same,
            "same*score": self.same * score,
            "same*background": self.same * self.background,
            "same*log_corpus": self.same * self.log_corpus,
            "same*log_language_rank": self.same * self.log_language_rank,
            "same*log_language_corpus": self.same * self.log_language_corpus,
            "same*language_lead": self.same * self.language_lead,
            "same*language_lag": self.same * self.language_lag,
            **self._of_words(),
        }

    def _of_words(self) -> dict[str, FloatArray]:
        rank = self.log_lexical_rank
        return (
            {} if rank is None else {WORD_FEATURE: rank, f"same*{WORD_FEATURE}": self.same * rank}
        )


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
        lexical_ranks: Positions by lexical score in a hybrid list, from 1, int64 of shape (n,); 0
            where no word is shared with the query. ``None`` of a dense one.
    """

    scores: FloatArray
    passage_languages: Sequence[str]
    query_posterior: Mapping[str, float]
    corpus_size: int
    language_sizes: Mapping[str, int]
    lexical_ranks: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedList:
    """Probabilities for a served list, in its order.

    Attributes:
        probability: P(hit is relevant), float64 of shape (n,).
        extrapolated: Whether score or corpus size lie outside what the fit has seen.
        language_source: Which part of the calibrator spoke, for each of ``standings.languages``:
            ``relation:same``, ``relation:cross`` (query and passage language known, both with
            labels), ``fallback:same``, ``fallback:cross`` (known, but one had no labels in the
            fit), ``mixture`` (query language uncertain: averaged over its posterior), ``pooled``
            (a language is not known).
        answerable: P(the first hit is relevant); 0 for an empty list.
        background: Mean score of the background ranks; ``None`` for an empty list.
        standings: How the hits stand in their languages.
        interval: Lower and upper end of the probabilities' intervals, float64 of shape (2, n);
            ``None`` where the document says nothing of them. Each holds its probability.
    """

    probability: FloatArray
    extrapolated: BoolArray
    language_source: Sequence[str]
    answerable: float
    background: float | None
    standings: Standings
    interval: FloatArray | None = None

    @property
    def source(self) -> tuple[str, ...]:
        """Which part of the calibrator spoke, one word a hit."""
        return tuple(map(self.language_source.__getitem__, self.standings.language))

    def source_of(self, at: int) -> str:
        """Return the same of one hit, counted from 0."""
        return self.language_source[self.standings.language[at]]


def background_score(scores: FloatArray | Sequence[float], ranks: RankRange) -> float:
    """Return the mean score over the background ranks.

    A list that ends before those ranks has its last score as background: the nearest thing to
    the score of a passage that does not answer.

    Args:
        scores: Descending, n of them, n at least 1.
        ranks: The background ranks.
    """
    tail = scores[ranks.from_rank - 1 : ranks.to_rank]
    return float(sum(tail)) / len(tail) if len(tail) else float(scores[-1])


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
