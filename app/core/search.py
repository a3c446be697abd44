"""The search: encode, find, calibrate, order. The use case of the service in one file."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

import numpy as np

from app.core.calibration import CalibratedList, Calibrator, ServedList
from app.core.encoding import EncoderThread
from app.core.errors import InvalidInputError, InvalidQueryError
from app.core.language_bias import LanguageDiagnostics, diagnose
from app.core.languages import normalize_language, primary_language
from app.core.ports import LanguageIdentifier, PassageStore
from app.core.types import (
    UNDETERMINED,
    LanguageGuess,
    NearestQuery,
    Passage,
    PassageFilter,
    ScoredPassage,
)

MAX_QUERY_CHARACTERS = 4096
MAX_LIMIT = 100
CANDIDATES_WITHOUT_CALIBRATOR = 60

RankBy = Literal["probability", "score"]
Outcome = Literal["ok", "no_confident_match"]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What a caller asks.

    Attributes:
        query: The query text.
        limit: How many hits to return at most, 1 to ``MAX_LIMIT``.
        query_language: BCP-47 tag of the query; ``None`` to identify it.
        candidate_languages: Languages the identification may choose from.
        passage_languages: Only passages in these languages are eligible; a tag without
            subtags stands for all its variants (``pt`` for ``pt-BR``).
        min_probability: Hits below are left out; needs a calibrator.
        rank_by: Order of the hits. It never changes a hit's probability.
    """

    query: str
    limit: int = 10
    query_language: str | None = None
    candidate_languages: frozenset[str] | None = None
    passage_languages: frozenset[str] | None = None
    min_probability: float | None = None
    rank_by: RankBy = "probability"


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage of a response.

    Attributes:
        passage: What was found.
        score: Cosine of the encoder's vectors.
        probability: P(relevant); ``None`` without a calibrator, never a score in its place.
        probability_source: Which part of the calibrator spoke (``CalibratedList.source``), or
            ``uncalibrated``.
        extrapolated: Whether the probability lies outside what the calibrator has seen.
    """

    passage: Passage
    score: float
    probability: float | None
    probability_source: str
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class SearchWarning:
    """Something the caller should know that is no error."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to a request.

    Attributes:
        query_id: Unique id of this answer.
        outcome: ``no_confident_match`` where nothing is returned.
        answerable_probability: P(the best-scoring hit is relevant), ``None`` without calibrator.
        expected_relevant: Sum of the probabilities of the returned hits, ``None`` as above.
        hits: Best first.
        candidates: How many passages were considered.
        dropped_below_min_probability: How many of the hits were left out for it.
        query_language: What is believed about the query's language.
        language: Language-bias diagnostics of the returned hits.
        warnings: What the caller should know.
        timings: Stage to milliseconds: ``language``, ``encode``, ``search``, ``calibrate``.
    """

    query_id: str
    outcome: Outcome
    answerable_probability: float | None
    expected_relevant: float | None
    hits: Sequence[Hit]
    candidates: int
    dropped_below_min_probability: int
    query_language: LanguageGuess
    language: LanguageDiagnostics
    warnings: Sequence[SearchWarning]
    timings: Mapping[str, float]


class SearchService:
    """Answers search requests on one collection."""

    def __init__(
        self,
        *,
        encoder: EncoderThread,
        store: PassageStore,
        calibrator: Calibrator | None,
        languages: LanguageIdentifier,
    ) -> None:
        self._encoder = encoder
        self._store = store
        self._calibrator = calibrator
        self._languages = languages

    async def search(self, request: SearchRequest) -> SearchResult:
        """Answer a request.

        Raises:
            InvalidQueryError: The query is empty or too long.
            InvalidInputError: Another member of the request is out of range.
            UnencodableTextError: The encoder knows no token of the query.
            EncodingError: The encoder failed.
            StoreError: The store failed.
        """
        self._validate(request)
        clock = _StageClock()
        guess = self._query_language(request)
        clock.stage("language")
        vector = await self._encoder.encode_query(request.query)
        clock.stage("encode")
        where = await self._eligible(request)
        census = await self._store.languages(where)
        nearest = NearestQuery(vector, limit=self._depth(request.limit), where=where)
        (candidates,) = await self._store.search([nearest])
        clock.stage("search")
        hits, answerable = self._judge(candidates, guess, corpus_size=sum(census.values()))
        shown, dropped = _select(hits, request)
        clock.stage("calibrate")
        probabilities = _probabilities(shown)
        return SearchResult(
            query_id=uuid4().hex,
            outcome="ok" if shown else "no_confident_match",
            answerable_probability=answerable,
            expected_relevant=None if probabilities is None else math.fsum(probabilities),
            hits=shown,
            candidates=len(candidates),
            dropped_below_min_probability=dropped,
            query_language=guess,
            language=diagnose(
                shown_languages=[hit.passage.language for hit in shown],
                shown_scores=[hit.score for hit in shown],
                shown_probabilities=probabilities,
                census=census,
                query_language=None if guess.code == UNDETERMINED else guess.code,
            ),
            warnings=self._warnings(shown),
            timings=clock.milliseconds,
        )

    def _validate(self, request: SearchRequest) -> None:
        if not request.query.strip():
            raise InvalidQueryError(
                "The query is empty. Send the text to search for.", pointer="/query"
            )
        if len(request.query) > MAX_QUERY_CHARACTERS:
            raise InvalidQueryError(
                f"The query has {len(request.query)} characters; at most {MAX_QUERY_CHARACTERS} "
                "are allowed. Send a question, not a document.",
                pointer="/query",
            )
        if not 1 <= request.limit <= MAX_LIMIT:
            raise InvalidInputError(
                f"limit is {request.limit}; it must be 1 to {MAX_LIMIT}.", pointer="/limit"
            )
        minimum = request.min_probability
        if minimum is None:
            return
        if not 0.0 <= minimum <= 1.0:
            raise InvalidInputError(
                f"min_probability is {minimum}; it must be 0 to 1.", pointer="/min_probability"
            )
        if self._calibrator is None:
            raise InvalidInputError(
                "min_probability needs a calibrator, and the loaded bundle has none.",
                pointer="/min_probability",
            )

    def _query_language(self, request: SearchRequest) -> LanguageGuess:
        if request.query_language is None:
            return self._languages.identify(request.query, request.candidate_languages)
        tag = normalize_language(request.query_language, pointer="/language/query")
        if tag == UNDETERMINED:
            return LanguageGuess(posterior={}, source="unknown")
        return LanguageGuess(posterior={tag: 1.0}, source="declared")

    async def _eligible(self, request: SearchRequest) -> PassageFilter:
        if request.passage_languages is None:
            return PassageFilter()
        wanted = {
            normalize_language(tag, pointer="/language/passages")
            for tag in request.passage_languages
        }
        stored = await self._store.languages()
        variants = {tag for tag in stored if primary_language(tag) in wanted}
        return PassageFilter(languages=frozenset(wanted | variants))

    def _depth(self, limit: int) -> int:
        # The same depth for every small limit: the background, and with it each probability,
        # must not depend on how many hits the caller wants to see.
        calibrator = self._calibrator
        return max(limit, calibrator.candidates if calibrator else CANDIDATES_WITHOUT_CALIBRATOR)

    def _judge(
        self, candidates: Sequence[ScoredPassage], guess: LanguageGuess, *, corpus_size: int
    ) -> tuple[list[Hit], float | None]:
        if self._calibrator is None:
            return [_uncalibrated_hit(candidate) for candidate in candidates], None
        calibrated = self._calibrator.calibrate(
            ServedList(
                scores=np.array([c.score for c in candidates], dtype=np.float64),
                passage_languages=[primary_language(c.passage.language) for c in candidates],
                query_posterior=_by_primary_language(guess.posterior),
                corpus_size=corpus_size,
            )
        )
        return _hits(candidates, calibrated), calibrated.answerable

    def _warnings(self, shown: Sequence[Hit]) -> list[SearchWarning]:
        warnings = []
        if self._calibrator is None:
            warnings.append(
                SearchWarning(
                    "no_calibrator", "The loaded bundle has no calibrator; probability is null."
                )
            )
        if any(hit.probability_source.startswith("fallback") for hit in shown):
            warnings.append(
                SearchWarning(
                    "language_without_labels",
                    "A language of these hits had no labels when the calibrator was fitted; its "
                    "probabilities come from the other languages.",
                )
            )
        if any(hit.extrapolated for hit in shown):
            warnings.append(
                SearchWarning(
                    "extrapolated",
                    "Scores or corpus size lie outside what the calibrator was fitted on.",
                )
            )
        return warnings


class _StageClock:
    """Measures consecutive stages in milliseconds."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stage(self, name: str) -> None:
        now = time.perf_counter()
        self.milliseconds[name] = (now - self._last) * 1e3
        self._last = now


def _by_primary_language(posterior: Mapping[str, float]) -> dict[str, float]:
    merged: dict[str, float] = {}
    for tag, probability in posterior.items():
        primary = primary_language(tag)
        merged[primary] = merged.get(primary, 0.0) + probability
    return merged


def _uncalibrated_hit(candidate: ScoredPassage) -> Hit:
    return Hit(
        candidate.passage,
        candidate.score,
        probability=None,
        probability_source="uncalibrated",
        extrapolated=False,
    )


def _hits(candidates: Sequence[ScoredPassage], calibrated: CalibratedList) -> list[Hit]:
    return [
        Hit(candidate.passage, candidate.score, float(probability), source, bool(extrapolated))
        for candidate, probability, source, extrapolated in zip(
            candidates,
            calibrated.probability,
            calibrated.source,
            calibrated.extrapolated,
            strict=True,
        )
    ]


def _select(hits: Sequence[Hit], request: SearchRequest) -> tuple[list[Hit], int]:
    """Order the hits, leave out the improbable ones, cut at the limit."""
    if request.rank_by == "probability":
        ordered = sorted(hits, key=lambda h: (-(h.probability or 0.0), -h.score, h.passage.id))
    else:
        ordered = sorted(hits, key=lambda h: (-h.score, h.passage.id))
    best = ordered[: request.limit]
    minimum = request.min_probability
    if minimum is None:
        return best, 0
    kept = [hit for hit in best if (hit.probability or 0.0) >= minimum]
    return kept, len(best) - len(kept)


def _probabilities(hits: Sequence[Hit]) -> list[float] | None:
    probabilities = [hit.probability for hit in hits if hit.probability is not None]
    return probabilities if len(probabilities) == len(hits) else None
