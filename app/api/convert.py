"""Wire models to core types, and back."""

from __future__ import annotations

from collections.abc import Sequence

from app.api import schemas
from app.api.readiness import Services
from app.core.language_bias import LanguageDiagnostics
from app.core.languages import normalize_language
from app.core.search import Hit, SearchRequest, SearchResult
from app.core.types import UNDETERMINED, LanguageGuess, Passage

_ALTERNATIVES = 3


def to_request(body: schemas.SearchBody) -> SearchRequest:
    """Return what the core is asked.

    Raises:
        InvalidInputError: A language is not a language tag.
    """
    language = body.language
    return SearchRequest(
        query=body.query,
        limit=body.limit,
        query_language=None if language.query == "auto" else language.query,
        candidate_languages=_tags(language.candidates, "/language/candidates"),
        passage_languages=_tags(language.passages, "/language/passages"),
        min_probability=body.min_probability,
        rank_by=body.rank_by,
    )


def to_response(
    result: SearchResult, body: schemas.SearchBody, services: Services, *, took_ms: float
) -> schemas.SearchResponse:
    """Return the answer as it is sent."""
    return schemas.SearchResponse(
        query_id=result.query_id,
        outcome=result.outcome,
        answerable_probability=result.answerable_probability,
        expected_relevant=result.expected_relevant,
        hits=[_hit(hit, rank, body.include) for rank, hit in enumerate(result.hits, start=1)],
        page=schemas.Page(
            limit=body.limit,
            returned=len(result.hits),
            candidates=result.candidates,
            dropped_below_min_probability=result.dropped_below_min_probability,
        ),
        query_language=_query_language(result.query_language),
        diagnostics=_diagnostics(result, body.diagnostics),
        model=model(services),
        warnings=[schemas.WarningOut(code=w.code, detail=w.detail) for w in result.warnings],
        took_ms=round(took_ms, 3),
    )


def model(services: Services) -> schemas.ModelOut:
    """Return what answers."""
    bundle = services.bundle
    return schemas.ModelOut(
        bundle=bundle.manifest.short_id,
        encoder=bundle.spec.fingerprint(),
        calibrator=bundle.calibrator.id if bundle.calibrator else None,
        collection=services.collection,
    )


def to_passage(passage: schemas.PassageIn) -> Passage:
    """Return a passage as the core takes it."""
    return Passage(
        id=passage.id,
        text=passage.text,
        language=UNDETERMINED if passage.language is None else passage.language,
        parallel_id=passage.parallel_id,
        metadata=passage.metadata,
    )


def from_passage(passage: Passage) -> schemas.PassageOut:
    """Return a stored passage as it is sent."""
    return schemas.PassageOut(
        id=passage.id,
        text=passage.text,
        language=passage.language,
        parallel_id=passage.parallel_id,
        metadata=dict(passage.metadata),
    )


def relation(hit: Hit) -> str:
    """Return ``same`` or ``cross``, or ``uncertain`` where a language is not known for certain."""
    stated = hit.probability_source.rpartition(":")[2]
    return stated if stated in {"same", "cross"} else "uncertain"


def _tags(tags: Sequence[str] | None, pointer: str) -> frozenset[str] | None:
    if tags is None:
        return None
    return frozenset(
        normalize_language(tag, pointer=f"{pointer}/{index}") for index, tag in enumerate(tags)
    )


def _hit(hit: Hit, rank: int, include: Sequence[str]) -> schemas.HitOut:
    passage = hit.passage
    return schemas.HitOut(
        id=passage.id,
        rank=rank,
        probability=hit.probability,
        probability_source=hit.probability_source,
        extrapolated=hit.extrapolated,
        score=hit.score,
        score_kind="cosine",
        language=schemas.HitLanguage(code=passage.language),
        text=passage.text if "text" in include else None,
        parallel_id=passage.parallel_id,
        metadata=dict(passage.metadata) if "metadata" in include else None,
    )


def _query_language(guess: LanguageGuess) -> schemas.QueryLanguage:
    others = sorted(
        ((p, code) for code, p in guess.posterior.items() if code != guess.code), reverse=True
    )
    return schemas.QueryLanguage.model_validate(
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


def _diagnostics(result: SearchResult, asked: Sequence[str]) -> schemas.Diagnostics | None:
    if not asked:
        return None
    timing = {stage: round(ms, 3) for stage, ms in result.timings.items()}
    return schemas.Diagnostics(
        language=_language_diagnostics(result.language) if "language" in asked else None,
        timing=timing if "timing" in asked else None,
    )


def _language_diagnostics(bias: LanguageDiagnostics) -> schemas.LanguageDiagnosticsOut:
    return schemas.LanguageDiagnosticsOut(
        exposure=dict(bias.exposure),
        corpus_share=dict(bias.corpus_share),
        exposure_lift=dict(bias.exposure_lift),
        same_language_share=bias.same_language_share,
        rank_agreement_with_score_order=bias.rank_agreement_with_score_order,
        filtered_corpus_size=bias.filtered_corpus_size,
    )
