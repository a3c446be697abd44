"""From the passages that a store found to hits with probabilities, and to what is said of them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from app.core.calibration.calibrator import Calibrator
from app.core.calibration.explanation import HitPosition, explain_hit, score_offsets
from app.core.calibration.lists import ServedList
from app.core.calibration.parts import Threshold
from app.core.calibration.standing import LanguageStanding
from app.core.languages.bias import LanguageDiagnostics, diagnose
from app.core.languages.codes import primary_language
from app.core.languages.writing import is_unsure, known_posterior
from app.core.search.candidates import Candidates, LexicalOrder, Statements, lexical_order
from app.core.search.types import (
    Hit,
    ListFacts,
    Outcome,
    SearchRequest,
    SearchResult,
    SearchWarning,
)
from app.core.types import UNDETERMINED, LanguageGuess, ScoredPassage

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class Judged:
    """The candidates of an answer.

    Attributes:
        candidates: Best score first.
        answerable: P(the best-scoring hit is relevant), ``None`` without calibrator.
        facts: What the probabilities have in common.
        words: How the candidates stand by their words; ``None`` in dense retrieval.
    """

    candidates: Candidates
    answerable: float | None
    facts: ListFacts
    words: LexicalOrder | None = None


def merge(found: Iterable[Sequence[ScoredPassage]]) -> list[ScoredPassage]:
    """Return everything that was found, once, best score first and then by id.

    The lists are the nearest passages of all languages, and of single ones. Their union holds
    the nearest of all languages down to a rank, and those of each language down to a rank, so
    every feature that a calibrator reads off it is the one it would read off a longer list.
    """
    lists = list(found)
    if len(lists) == 1:
        return list(lists[0])  # a store returns them so
    merged = {hit.passage.id: hit for hits in lists for hit in hits}
    return sorted(merged.values(), key=lambda hit: (-hit.score, hit.passage.id))


def judge(  # noqa: PLR0913 - hits, and all that is known of them
    candidates: Sequence[ScoredPassage],
    *,
    calibrator: Calibrator | None,
    census: Mapping[str, int],
    query: str,
    query_language: LanguageGuess,
    lexical: Mapping[str, float] | None = None,
) -> Judged:
    """Give every candidate its probability.

    Args:
        candidates: Best score first; at least as deep as the calibrator's background reaches,
            unless fewer passages are eligible.
        calibrator: ``None`` where the bundle has none.
        census: Language to number of eligible passages.
        query: The query, which may be written unlike the language it is in.
        query_language: What is believed about its language.
        lexical: Id to lexical score of those that share a word with the query, in hybrid
            retrieval; ``None`` in dense.
    """
    posterior = known_posterior(query, query_language)
    passages = [candidate.passage for candidate in candidates]
    languages = [primary_language(passage.language) for passage in passages]
    # A passage may have been stored between counting and searching.
    corpus_size = max(sum(census.values()), len(candidates))
    words = None if lexical is None else lexical_order(passages, lexical)
    served = ServedList(
        scores=np.array([c.score for c in candidates], dtype=np.float64),
        passage_languages=languages,
        query_posterior=posterior,
        corpus_size=corpus_size,
        language_sizes=_by_primary_language(census),
        lexical_ranks=None if words is None else words.ranks,
    )
    calibrated = None if calibrator is None else calibrator.calibrate(served)
    return Judged(
        Candidates(passages, Statements(served.scores, calibrated)),
        None if calibrated is None else calibrated.answerable,
        ListFacts(
            census, posterior, None if calibrated is None else calibrated.background, corpus_size
        ),
        words,
    )


def show(
    answer: SearchResult,
    hits: Sequence[Hit],
    *,
    offset: int,
    request: SearchRequest,
    calibrator: Calibrator | None,
) -> SearchResult:
    """Return a page of an answer: its hits, and all that depends on which they are.

    Args:
        answer: The answer without hits; its warnings hold for every page.
        hits: Those of the page.
        offset: How many hits of the answer come before these.
        request: Says what to explain.
        calibrator: The one that judged the hits.
    """
    probabilities = _probabilities(hits)
    return replace(
        answer,
        hits=[_explained(hit, answer.facts, request, calibrator) for hit in hits],
        offset=offset,
        expected_relevant=None if probabilities is None else math.fsum(probabilities),
        bias=ShownBias(hits, answer.facts, answer.query_language, calibrator),
        warnings=[*answer.warnings, *_warnings(hits, request, calibrator)],
    )


def outcome(hits: int, answerable: float | None, threshold: Threshold | None) -> Outcome:
    """Return whether an answer should be trusted to hold one.

    Args:
        hits: How many the whole answer has.
        answerable: P(the best-scoring hit is relevant), ``None`` without calibrator.
        threshold: What ``answerable`` has to reach; ``None`` where there is no such threshold.
    """
    if not hits:
        return "no_confident_match"
    if answerable is not None and threshold is not None and answerable < threshold.value:
        return "no_confident_match"
    return "ok"


class ShownBias:
    """The language-bias diagnostics of shown hits: worked out when first asked for.

    Most callers do not ask, and a report on the last answers is asked for now and then.

    Args:
        hits: Those that are shown.
        facts: What their probabilities have in common.
        query_language: What is believed about the language of the query.
        calibrator: The one that judged them; ``None`` where the bundle has none.
    """

    def __init__(
        self,
        hits: Sequence[Hit],
        facts: ListFacts,
        query_language: LanguageGuess,
        calibrator: Calibrator | None,
    ) -> None:
        # Not the hits: their passages would be kept in memory for as long as this is.
        self._languages = [hit.passage.language for hit in hits]
        self._scores = [hit.score for hit in hits]
        self._probabilities = _probabilities(hits)
        self._standings = [hit.standing for hit in hits]
        self._by_words = [_place_by_words(hit) for hit in hits]
        self._facts = facts
        self._query_language = known_language(query_language)
        self._calibrator = calibrator
        self._found: LanguageDiagnostics | None = None

    def __call__(self) -> LanguageDiagnostics:
        """Return the diagnostics."""
        if self._found is None:
            bias = diagnose(
                shown_languages=self._languages,
                shown_scores=self._scores,
                shown_probabilities=self._probabilities,
                census=self._facts.census,
                query_language=self._query_language,
            )
            self._found = replace(bias, score_offset=self._score_offsets())
        return self._found

    def _score_offsets(self) -> dict[str, float]:
        own = self._query_language
        if self._calibrator is None or own is None:
            return {}
        languages = list(map(primary_language, self._languages))
        cross = [n for n, language in enumerate(languages) if language not in (own, UNDETERMINED)]
        if not cross:
            return {}
        hits = [
            _position(
                self._scores[n], languages[n], self._standings[n], self._by_words[n], self._facts
            )
            for n in cross
        ]
        offsets: defaultdict[str, list[float]] = defaultdict(list)
        for n, offset in zip(
            cross, score_offsets(self._calibrator, hits, own).tolist(), strict=True
        ):
            offsets[f"{own}>{languages[n]}"].append(offset)
        return {pair: sum(values) / len(values) for pair, values in offsets.items()}


def known_language(guess: LanguageGuess) -> str | None:
    """Return the primary language of a query, ``None`` where it is not known."""
    return None if guess.code == UNDETERMINED else primary_language(guess.code)


def pooled_warnings(
    guess: LanguageGuess, facts: ListFacts, calibrator: Calibrator | None
) -> list[SearchWarning]:
    """Return a warning where the probabilities come mostly from the head without languages."""
    if calibrator is None or sum(facts.query_posterior.values()) >= _MOSTLY:
        return []
    advice = ""
    if is_unsure(guess):
        why = (
            f"What language the query is in is not sure (at best {guess.code}, "
            f"{guess.confidence:.0%})"
        )
        advice = " Send what you know of it: language.query, or language.candidates."
    elif guess.code == UNDETERMINED:
        why = "The language of the query is not known"
    else:
        why = f"The query mixes languages, or is not in the usual script of its own ({guess.code})"
    detail = f"{why}; its probabilities come from the calibrator that looks at no language.{advice}"
    return [SearchWarning("pooled_calibrator", detail)]


_MOSTLY = 0.5


def _by_primary_language(values: Mapping[str, _Number]) -> dict[str, _Number]:
    merged: dict[str, _Number] = {}
    for tag, value in values.items():
        primary = primary_language(tag)
        merged[primary] = merged[primary] + value if primary in merged else value
    return merged


def _explained(
    hit: Hit, facts: ListFacts, request: SearchRequest, calibrator: Calibrator | None
) -> Hit:
    if request.explain == "none" or calibrator is None:
        return hit
    language = primary_language(hit.passage.language)
    position = _position(hit.score, language, hit.standing, _place_by_words(hit), facts)
    full = request.explain == "full"
    return hit._replace(explanation=explain_hit(calibrator, position, full=full))


def _place_by_words(hit: Hit) -> int | None:
    return None if hit.lexical_score is None else hit.lexical_rank or 0


def _position(
    score: float,
    language: str,
    standing: LanguageStanding | None,
    by_words: int | None,
    facts: ListFacts,
) -> HitPosition:
    assert facts.background is not None  # there is a hit, and a calibrator
    assert standing is not None
    return HitPosition(
        score=score,
        language=language,
        standing=standing,
        background=facts.background,
        corpus_size=facts.corpus_size,
        query_posterior=facts.query_posterior,
        lexical_rank=by_words,
    )


def _probabilities(hits: Sequence[Hit]) -> list[float] | None:
    probabilities = [hit.probability for hit in hits if hit.probability is not None]
    return probabilities if len(probabilities) == len(hits) else None


_NO_CALIBRATOR = SearchWarning(
    "no_calibrator", "The loaded bundle has no calibrator; probability is null."
)
_NO_HYBRID_CALIBRATOR = SearchWarning(
    "no_hybrid_calibrator",
    "The loaded bundle has no calibrator of what is found by vector and by words together; "
    "probability is null, and hits are ordered by reciprocal rank fusion.",
)


def _warnings(
    hits: Sequence[Hit], request: SearchRequest, calibrator: Calibrator | None
) -> list[SearchWarning]:
    missing = _NO_HYBRID_CALIBRATOR if request.retrieval == "hybrid" else _NO_CALIBRATOR
    said = {
        missing: calibrator is None,
        SearchWarning(
            "language_without_labels",
            "A language of these hits had no labels when the calibrator was fitted; its "
            "probabilities come from the other languages.",
        ): any(hit.probability_source.startswith("fallback") for hit in hits),
        SearchWarning(
            "extrapolated", "Scores or corpus size lie outside what the calibrator was fitted on."
        ): any(hit.extrapolated for hit in hits),
    }
    return [warning for warning, applies in said.items() if applies]
