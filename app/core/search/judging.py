"""From the passages that a store found to hits with probabilities, and to what is said of them."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from app.core.calibration.calibrator import CalibratedList, Calibrator, ServedList, background_score
from app.core.calibration.explanation import HitPosition, explain_hit, score_offsets
from app.core.calibration.parts import Threshold
from app.core.calibration.standing import LanguageStanding
from app.core.languages.bias import LanguageDiagnostics, diagnose
from app.core.languages.codes import primary_language
from app.core.languages.writing import known_posterior
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
        hits: Best score first.
        answerable: P(the best-scoring hit is relevant), ``None`` without calibrator.
        facts: What the probabilities have in common.
    """

    hits: Sequence[Hit]
    answerable: float | None
    facts: ListFacts


def merge(found: Iterable[Sequence[ScoredPassage]]) -> list[ScoredPassage]:
    """Return everything that was found, once, best score first and then by id.

    The lists are the nearest passages of all languages, and of single ones. Their union holds
    the nearest of all languages down to a rank, and those of each language down to a rank, so
    every feature that a calibrator reads off it is the one it would read off a longer list.
    """
    merged = {hit.passage.id: hit for hits in found for hit in hits}
    return sorted(merged.values(), key=lambda hit: (-hit.score, hit.passage.id))


def judge(
    candidates: Sequence[ScoredPassage],
    *,
    calibrator: Calibrator | None,
    census: Mapping[str, int],
    query: str,
    query_language: LanguageGuess,
) -> Judged:
    """Give every candidate its probability.

    Args:
        candidates: Best score first; at least as deep as the calibrator's background reaches,
            unless fewer passages are eligible.
        calibrator: ``None`` where the bundle has none.
        census: Language to number of eligible passages.
        query: The query, which may be written unlike the language it is in.
        query_language: What is believed about its language.
    """
    posterior = known_posterior(query, query_language.posterior)
    languages = [primary_language(c.passage.language) for c in candidates]
    # A passage may have been stored between counting and searching.
    corpus_size = max(sum(census.values()), len(candidates))
    served = ServedList(
        scores=np.array([c.score for c in candidates], dtype=np.float64),
        passage_languages=languages,
        query_posterior=posterior,
        corpus_size=corpus_size,
        language_sizes=_by_primary_language(census),
    )
    calibrated = None if calibrator is None else calibrator.calibrate(served)
    background = None
    if calibrator is not None and candidates:
        background = background_score(served.scores, calibrator.document.background)
    return Judged(
        _hits(candidates, calibrated),
        None if calibrated is None else calibrated.answerable,
        ListFacts(census, posterior, background, corpus_size),
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
        language=language_bias(hits, answer.facts, answer.query_language, calibrator),
        warnings=[*answer.warnings, *_warnings(hits, calibrator)],
    )


def outcome(hits: Sequence[Hit], answerable: float | None, threshold: Threshold | None) -> Outcome:
    """Return whether an answer should be trusted to hold one.

    Args:
        hits: Those of the whole answer.
        answerable: P(the best-scoring hit is relevant), ``None`` without calibrator.
        threshold: What ``answerable`` has to reach; ``None`` where there is no such threshold.
    """
    if not hits:
        return "no_confident_match"
    if answerable is not None and threshold is not None and answerable < threshold.value:
        return "no_confident_match"
    return "ok"


def language_bias(
    hits: Sequence[Hit],
    facts: ListFacts,
    query_language: LanguageGuess,
    calibrator: Calibrator | None,
) -> LanguageDiagnostics:
    """Return the language-bias diagnostics of shown hits."""
    bias = diagnose(
        shown_languages=[hit.passage.language for hit in hits],
        shown_scores=[hit.score for hit in hits],
        shown_probabilities=_probabilities(hits),
        census=facts.census,
        query_language=known_language(query_language),
    )
    offsets = _score_offsets(hits, facts, query_language, calibrator)
    return replace(bias, score_offset=offsets)


def known_language(guess: LanguageGuess) -> str | None:
    """Return the primary language of a query, ``None`` where it is not known."""
    return None if guess.code == UNDETERMINED else primary_language(guess.code)


def pooled_warnings(
    guess: LanguageGuess, facts: ListFacts, calibrator: Calibrator | None
) -> list[SearchWarning]:
    """Return a warning where the probabilities come mostly from the head without languages."""
    if calibrator is None or sum(facts.query_posterior.values()) >= _MOSTLY:
        return []
    why = "The language of the query is not known"
    if guess.code != UNDETERMINED:
        why = f"The query mixes languages, or is not in the usual script of its own ({guess.code})"
    detail = f"{why}; its probabilities come from the calibrator that looks at no language."
    return [SearchWarning("pooled_calibrator", detail)]


_MOSTLY = 0.5


def _hits(
    candidates: Sequence[ScoredPassage],
    calibrated: CalibratedList | None,
) -> list[Hit]:
    uncalibrated = itertools.repeat((None, "uncalibrated", False, None, None))
    stated = uncalibrated if calibrated is None else _stated(calibrated)
    hits = []
    for position, (candidate, facts) in enumerate(zip(candidates, stated, strict=False), start=1):
        probability, source, extrapolated, interval, standing = facts
        hits.append(
            Hit(
                candidate.passage,
                candidate.score,
                probability,
                source,
                extrapolated,
                interval=interval,
                score_rank=position,
                standing=standing,
            )
        )
    return hits


def _by_primary_language(values: Mapping[str, _Number]) -> dict[str, _Number]:
    merged: dict[str, _Number] = {}
    for tag, value in values.items():
        primary = primary_language(tag)
        merged[primary] = merged[primary] + value if primary in merged else value
    return merged


_Stated = tuple[float | None, str, bool, tuple[float, float] | None, LanguageStanding | None]


def _stated(calibrated: CalibratedList) -> Iterator[_Stated]:
    """Yield for every hit its probability, source, whether extrapolated, interval and standing."""
    intervals: Iterable[tuple[float, float] | None] = itertools.repeat(None)
    if calibrated.interval is not None:
        intervals = zip(*calibrated.interval.tolist(), strict=True)
    return zip(
        calibrated.probability.tolist(),
        calibrated.source,
        calibrated.extrapolated.tolist(),
        intervals,
        calibrated.standings.each(),
        strict=False,
    )


def _score_offsets(
    hits: Sequence[Hit],
    facts: ListFacts,
    query_language: LanguageGuess,
    calibrator: Calibrator | None,
) -> dict[str, float]:
    own = known_language(query_language)
    if calibrator is None or own is None:
        return {}
    languages = [primary_language(hit.passage.language) for hit in hits]
    cross = [n for n, language in enumerate(languages) if language not in (own, UNDETERMINED)]
    if not cross:
        return {}
    found = score_offsets(calibrator, [_position(hits[n], facts) for n in cross], own)
    offsets: defaultdict[str, list[float]] = defaultdict(list)
    for n, offset in zip(cross, found.tolist(), strict=True):
        offsets[f"{own}>{languages[n]}"].append(offset)
    return {pair: sum(values) / len(values) for pair, values in offsets.items()}


def _explained(
    hit: Hit, facts: ListFacts, request: SearchRequest, calibrator: Calibrator | None
) -> Hit:
    if request.explain == "none" or calibrator is None:
        return hit
    full = request.explain == "full"
    return hit._replace(explanation=explain_hit(calibrator, _position(hit, facts), full=full))


def _position(hit: Hit, facts: ListFacts) -> HitPosition:
    assert facts.background is not None  # there is a hit, and a calibrator
    assert hit.standing is not None
    return HitPosition(
        score=hit.score,
        language=primary_language(hit.passage.language),
        standing=hit.standing,
        background=facts.background,
        corpus_size=facts.corpus_size,
        query_posterior=facts.query_posterior,
    )


def _probabilities(hits: Sequence[Hit]) -> list[float] | None:
    probabilities = [hit.probability for hit in hits if hit.probability is not None]
    return probabilities if len(probabilities) == len(hits) else None


def _warnings(hits: Sequence[Hit], calibrator: Calibrator | None) -> list[SearchWarning]:
    said = {
        SearchWarning(
            "no_calibrator", "The loaded bundle has no calibrator; probability is null."
        ): calibrator is None,
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
