"""Wire models of searches to core types, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from app.api.convert import model
from app.api.feedback_convert import tokens_of
from app.api.readiness import Services
from app.api.schemas import answer as answers
from app.api.schemas.search import LanguageOptions, SearchBody
from app.core.calibration.explanation import HeadExplanation
from app.core.calibration.parts import Threshold
from app.core.languages.bias import LanguageDiagnostics
from app.core.languages.codes import normalize_language
from app.core.languages.modes import accept_language_weights, check_weights
from app.core.passages.filters import parse_filter
from app.core.search.highlights import highlights
from app.core.search.types import Hit, SearchRequest, SearchResult
from app.core.types import ANY_PASSAGE, FieldKind, LanguageGuess, PassageFilter

_ALTERNATIVES = 3


def to_request(
    body: SearchBody, *, fields: Mapping[str, FieldKind], accept_language: str | None = None
) -> SearchRequest:
    """Return what the core is asked.

    Args:
        body: What was sent.
        fields: Declared fields, by name, for the filter.
        accept_language: Header of the request, for mode ``prefer`` without weights.

    Raises:
        InvalidInputError: A language is not a language tag, or a weight is out of range.
        MalformedFilterError: The filter breaks the grammar.
    """
    language = body.language
    where = ANY_PASSAGE
    if body.filter is not None:
        where = PassageFilter(condition=parse_filter(body.filter, fields))
    return SearchRequest(
        query=body.query,
        limit=body.limit,
        offset=body.offset,
        cursor=body.cursor,
        candidates=body.candidates,
        retrieval=body.retrieval,
        where=where,
        query_language=None if language.query == "auto" else language.query,
        candidate_languages=_tags(language.candidates, "/language/candidates"),
        passage_languages=_tags(language.passages, "/language/passages"),
        language_mode=language.mode,
        prefer=_weights(language, accept_language),
        min_probability=body.min_probability,
        target_precision=body.target_precision,
        rank_by=body.rank_by,
        explain=body.explain,
        timeout_ms=body.timeout_ms,
        on_timeout=body.on_timeout,
    )


def to_response(
    result: SearchResult, body: SearchBody, services: Services, *, took_ms: float
) -> answers.SearchResponse:
    """Return the answer as it is sent."""
    return answers.SearchResponse(
        query_id=result.query_id,
        outcome=result.outcome,
        answerable_probability=result.answerable_probability,
        answer_threshold=_answer_threshold(result.answer_threshold),
        expected_relevant=result.expected_relevant,
        hits=[
            _hit(hit, body, token)
            for hit, token in zip(result.hits, tokens_of(result, services.feedback), strict=True)
        ],
        page=answers.Page(
            limit=body.limit,
            offset=result.offset,
            returned=len(result.hits),
            candidates=result.candidates,
            relation=result.relation,
            dropped_below_min_probability=result.dropped_below_min_probability,
            dropped_by_target_precision=result.dropped_by_target_precision,
            next_cursor=result.next_cursor,
        ),
        query_language=_query_language(result.query_language),
        diagnostics=_diagnostics(result, body.diagnostics, services),
        # A page by cursor comes from the calibrator of its first page.
        model=model(services, result.calibrator),
        warnings=[answers.WarningOut(code=w.code, detail=w.detail) for w in result.warnings],
        took_ms=round(took_ms, 3),
    )


def _tags(tags: Sequence[str] | None, pointer: str) -> frozenset[str] | None:
    if tags is None:
        return None
    return frozenset(
        normalize_language(tag, pointer=f"{pointer}/{index}") for index, tag in enumerate(tags)
    )


def _weights(language: LanguageOptions, accept_language: str | None) -> dict[str, float] | None:
    if language.prefer is not None:
        return check_weights(language.prefer, pointer="/language/prefer")
    if language.mode != "prefer" or accept_language is None:
        return None
    return accept_language_weights(accept_language)


def _hit(hit: Hit, body: SearchBody, feedback_token: str | None) -> answers.HitOut:
    passage = hit.passage
    return answers.HitOut(
        id=passage.id,
        rank=hit.rank,
        probability=hit.probability,
        probability_interval=hit.interval,
        probability_source=hit.probability_source,
        extrapolated=hit.extrapolated,
        score=hit.score,
        score_kind="cosine",
        lexical_score=hit.lexical_score,
        language=_language(passage.language),
        text=passage.text if "text" in body.include else None,
        parallel_id=passage.parallel_id,
        metadata=dict(passage.metadata) if "metadata" in body.include else None,
        highlights=_highlights(body.query, passage.text) if "highlights" in body.include else None,
        explanation=None if body.explain == "none" else _explanation(hit),
        feedback_token=feedback_token,
    )


@lru_cache(maxsize=256)
def _language(code: str) -> answers.HitLanguage:
    return answers.HitLanguage(code=code)


@lru_cache(maxsize=16)
def _answer_threshold(threshold: Threshold | None) -> answers.AnswerThreshold | None:
    return None if threshold is None else answers.AnswerThreshold(**threshold.model_dump())


def _highlights(query: str, text: str) -> list[answers.HighlightOut]:
    return [answers.HighlightOut(start=start, end=end) for start, end in highlights(query, text)]


def _explanation(hit: Hit) -> answers.ExplanationOut:
    said = hit.explanation
    return answers.ExplanationOut(
        calibrator=None if said is None else said.calibrator,
        rank_before=hit.score_rank,
        lexical_rank=hit.lexical_rank,
        fusion=hit.fusion,
        rank_after=hit.rank,
        language_weight=hit.language_weight,
        heads=[] if said is None else [_head(head) for head in said.heads],
    )


def _head(head: HeadExplanation) -> answers.HeadOut:
    return answers.HeadOut(
        head=head.head,
        query_language=head.query_language or None,
        share=min(1.0, head.share),
        terms=[
            answers.TermOut(
                feature=term.feature,
                value=term.value,
                weight=term.weight,
                contribution=term.contribution,
            )
            for term in head.terms
        ],
        intercept=head.intercept,
        logit=head.logit,
        probability=head.probability,
    )


def _query_language(guess: LanguageGuess) -> answers.QueryLanguage:
    others = sorted(
        ((p, code) for code, p in guess.posterior.items() if code != guess.code), reverse=True
    )
    return answers.QueryLanguage.model_validate(
        {
            "code": guess.code,
            "confidence": _rounded(guess.confidence),
            "source": guess.source,
            "alternatives": [
                {"code": code, "confidence": _rounded(p)} for p, code in others[:_ALTERNATIVES]
            ],
        }
    )


def _rounded(confidence: float) -> float:
    # A posterior in floating point may sum to a hair more than 1.
    return min(1.0, round(confidence, 6))


def _diagnostics(
    result: SearchResult, asked: Sequence[str], services: Services
) -> answers.Diagnostics | None:
    if not asked:
        return None
    timing = {stage: round(ms, 3) for stage, ms in result.timings.items()}
    return answers.Diagnostics(
        language=_language_diagnostics(result.language) if "language" in asked else None,
        calibration=_calibration(result, services) if "calibration" in asked else None,
        timing=timing if "timing" in asked else None,
    )


def _language_diagnostics(bias: LanguageDiagnostics) -> answers.LanguageDiagnosticsOut:
    return answers.LanguageDiagnosticsOut(
        exposure=dict(bias.exposure),
        corpus_share=dict(bias.corpus_share),
        exposure_lift=dict(bias.exposure_lift),
        score_offset=dict(bias.score_offset),
        same_language_share=bias.same_language_share,
        rank_agreement_with_score_order=bias.rank_agreement_with_score_order,
        filtered_corpus_size=bias.filtered_corpus_size,
    )


def _calibration(
    result: SearchResult, services: Services
) -> answers.CalibrationDiagnosticsOut | None:
    calibrator = result.calibrator
    if calibrator is None:
        return None
    document = calibrator.document
    hits, expected = len(result.hits), result.expected_relevant
    return answers.CalibrationDiagnosticsOut(
        calibrator=calibrator.id,
        background=result.facts.background,
        background_ranks=(document.background.from_rank, document.background.to_rank),
        corpus_size=result.facts.corpus_size,
        corpus_range=document.trained_range.corpus,
        score_range=document.trained_range.score,
        extrapolated=sum(hit.extrapolated for hit in result.hits),
        mean_probability=None if expected is None or not hits else expected / hits,
        measured=document.metrics,
    )
