"""What a search is asked and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from app.core.calibration.calibrator import Calibrator
from app.core.calibration.explanation import HitExplanation
from app.core.calibration.parts import Threshold
from app.core.calibration.standing import LanguageStanding
from app.core.languages.bias import LanguageDiagnostics
from app.core.types import ANY_PASSAGE, LanguageGuess, Passage, PassageFilter

MAX_QUERY_CHARACTERS = 4096
MAX_LIMIT = 100
DEFAULT_CANDIDATES = 100
"""How many of the nearest passages are ranked; not fewer than ``MAX_LIMIT``."""

MAX_CANDIDATES = 1000
MAX_TIMEOUT_MS = 60_000
MAX_SEARCHES = 64
"""Most searches in one batch."""

RankBy = Literal["probability", "score"]
Retrieval = Literal["dense", "hybrid"]
LanguageMode = Literal["any", "prefer", "balance"]
ExplainLevel = Literal["none", "basic", "full"]
OnTimeout = Literal["error", "degraded"]
Outcome = Literal["ok", "no_confident_match", "degraded"]
Relation = Literal["eq", "gte"]

RankingKey: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What a caller asks.

    Attributes:
        query: The query text.
        limit: How many hits to return at most, 1 to ``MAX_LIMIT``.
        offset: How many hits of the answer to leave out at its beginning.
        cursor: ``SearchResult.next_cursor`` of an earlier answer, to go on with it.
        candidates: How many of the nearest passages are ranked, ``MAX_LIMIT`` to
            ``MAX_CANDIDATES``. ``offset`` and ``limit`` stay within it.
        retrieval: ``dense`` looks for the nearest passages; ``hybrid`` also for those that share
            words with the query. Each has a calibrator of its own, and so probabilities that are
            two estimates of the same; no other option changes one.
        query_language: BCP-47 tag of the query; ``None`` to identify it.
        candidate_languages: Languages the identification may choose from.
        passage_languages: Only passages in these languages are eligible; a tag without
            subtags stands for all its variants (``pt`` for ``pt-BR``).
        where: What else a passage must fulfil to be eligible.
        language_mode: ``any``; ``prefer`` orders by weight times probability; ``balance`` looks
            for candidates in every language by itself. No mode changes a probability.
        prefer: Language to weight, 0 to 1, for ``prefer``; see ``LanguagePreference``.
        min_probability: Hits below are left out; needs a calibrator.
        target_precision: The answer is cut at the deepest place where the mean probability is
            not lower; needs a calibrator.
        rank_by: Order of the hits. It never changes a hit's probability. Where there is none,
            ``probability`` is by ``Hit.fusion`` in hybrid retrieval, else by score.
        explain: How much to say about where a probability comes from.
        timeout_ms: Milliseconds the search may take; ``None`` for no limit.
        on_timeout: Whether lateness is an error or a declared ``degraded`` result.
    """

    query: str
    limit: int = 10
    query_language: str | None = None
    candidate_languages: frozenset[str] | None = None
    passage_languages: frozenset[str] | None = None
    min_probability: float | None = None
    rank_by: RankBy = "probability"
    offset: int = 0
    cursor: str | None = None
    candidates: int = DEFAULT_CANDIDATES
    retrieval: Retrieval = "dense"
    where: PassageFilter = ANY_PASSAGE
    language_mode: LanguageMode = "any"
    prefer: Mapping[str, float] | None = None
    target_precision: float | None = None
    explain: ExplainLevel = "none"
    timeout_ms: int | None = None
    on_timeout: OnTimeout = "error"

    def ranking_key(self) -> RankingKey:
        """Return what decides which hits there are and in which order; the rest only shows them."""
        return (
            self.query,
            self.query_language,
            self.candidate_languages,
            self.passage_languages,
            self.min_probability,
            self.rank_by,
            self.candidates,
            self.retrieval,
            self.where,
            self.language_mode,
            None if self.prefer is None else frozenset(self.prefer.items()),
            self.target_precision,
        )


class Hit(NamedTuple):
    """One passage of a response.

    Attributes:
        passage: What was found.
        score: Cosine of the encoder's vectors.
        probability: P(relevant); ``None`` without a calibrator, never a score in its place.
        probability_source: Which part of the calibrator spoke (``CalibratedList.source``), or
            ``uncalibrated``.
        extrapolated: Whether the probability lies outside what the calibrator has seen.
        rank: Position in the whole answer, from 1.
        score_rank: Position among the candidates ordered by score, from 1.
        standing: How it stands among the candidates of its language; ``None`` without calibrator.
        language_weight: Weight of its language in mode ``prefer``, else 1.
        explanation: Where the probability comes from, where that was asked for.
        interval: Of the probability; ``None`` where the calibrator says nothing of it.
        shadow_probability: What a shadow calibrator would have stated, which no caller sees.
        lexical_score: BM25 of the words of the query, 0 where it shares none; ``None`` where it
            was not looked for by words.
        lexical_rank: Position among the candidates ordered by lexical score, from 1; ``None``
            where that is 0 or ``None``.
        fusion: Reciprocal rank fusion of both ranks; ``None`` as ``lexical_score``.
    """

    passage: Passage
    score: float
    probability: float | None
    probability_source: str
    extrapolated: bool
    rank: int = 0
    score_rank: int = 0
    standing: LanguageStanding | None = None
    language_weight: float = 1.0
    explanation: HitExplanation | None = None
    interval: tuple[float, float] | None = None
    shadow_probability: float | None = None
    lexical_score: float | None = None
    lexical_rank: int | None = None
    fusion: float | None = None


@dataclass(frozen=True, slots=True)
class SearchWarning:
    """Something the caller should know that is no error."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class ListFacts:
    """What the probabilities of an answer have in common.

    Attributes:
        census: Language to number of eligible passages.
        query_posterior: Primary language of the query to probability.
        background: Mean score of the background ranks; ``None`` without calibrator or candidates.
        corpus_size: Number of eligible passages.
    """

    census: Mapping[str, int]
    query_posterior: Mapping[str, float]
    background: float | None
    corpus_size: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to a request, or one page of it.

    Attributes:
        query_id: Unique id of this answer; the same for all pages of one cursor.
        outcome: ``no_confident_match`` where the whole answer is empty or the answerable
            probability lies below the answer threshold, ``degraded`` where the search ran out of
            time.
        answerable_probability: P(the best-scoring hit is relevant), ``None`` without calibrator.
        expected_relevant: Sum of the probabilities of the returned hits, ``None`` as above.
        hits: Best first.
        offset: How many hits of the answer come before these.
        candidates: How many passages were ranked.
        relation: ``eq`` where all eligible passages were ranked, ``gte`` where there are more.
        dropped_below_min_probability: How many candidates were left out for it.
        dropped_by_target_precision: How many candidates were left out for it.
        next_cursor: Asks for the next page of this very answer; ``None`` on the last one.
        query_language: What is believed about the query's language.
        bias: Returns the language-bias diagnostics of the returned hits.
        facts: What the probabilities have in common.
        warnings: What the caller should know.
        timings: Stage to milliseconds: ``language``, ``encode``, ``search``, ``calibrate``,
            ``page``.
        calibrator: What stated the probabilities; ``None`` without one.
        answer_threshold: What ``answerable_probability`` was compared with; ``None`` where the
            calibrator has no such threshold.
        shadow: Id of the calibrator that ran in its shadow; ``None`` without one.
    """

    query_id: str
    outcome: Outcome
    answerable_probability: float | None
    expected_relevant: float | None
    hits: Sequence[Hit]
    offset: int
    candidates: int
    relation: Relation
    dropped_below_min_probability: int
    dropped_by_target_precision: int
    next_cursor: str | None
    query_language: LanguageGuess
    bias: Callable[[], LanguageDiagnostics]
    facts: ListFacts
    warnings: Sequence[SearchWarning]
    timings: Mapping[str, float]
    calibrator: Calibrator | None = None
    answer_threshold: Threshold | None = None
    shadow: str | None = None

    @property
    def language(self) -> LanguageDiagnostics:
        """Language-bias diagnostics of the returned hits, worked out when first asked for."""
        return self.bias()
