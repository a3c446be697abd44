"""GET /v1/diagnostics/languages: language bias of the last answers."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from fastapi import APIRouter
from pydantic import Field

from app.api.examples.model import LANGUAGE_REPORTS
from app.api.problem import answered, documented
from app.api.readiness import ServicesDep
from app.api.wire import ResponseModel

router = APIRouter()


class SameLanguageOut(ResponseModel):
    """Share of hits in the query's language beside that of the corpus."""

    answers: int = Field(description="How many answers could tell.")
    hits: float = Field(description="Mean share of the hits.")
    corpus: float = Field(description="Mean share of the eligible passages.")
    standard_error: float | None = Field(
        description="Of the mean difference; null with fewer than two answers."
    )


class PreferenceOut(ResponseModel):
    """How translations in some language stood among the others."""

    queries: int = Field(description="Distinct queries that could tell.")
    groups: int = Field(description="Distinct groups of translations that could tell.")
    advantage: float = Field(
        description="Mean place among the translations: 1 always first, 0 no preference, -1 "
        "always last."
    )
    z: float = Field(
        description="How far that is from chance: never more than the square root of the smaller "
        "of `queries` and `groups`."
    )
    flagged: bool = Field(
        description="|z| reaches `z_threshold` and the advantage is at least 0.1 either way."
    )


class ParallelBiasOut(ResponseModel):
    """How translations of one text (passages with one `parallel_id`) were ordered."""

    comparisons: int = Field(
        description="How often a group of translations was among the first ten candidates."
    )
    rank_distance: float | None = Field(
        description="Mean of last rank minus first rank within a group. It grows with the corpus."
    )
    relative_rank_distance: float | None = Field(
        description="The same divided by the number of candidates."
    )
    language_preference_rate: float | None = Field(
        description="Share of groups whose first translation is in the query's language."
    )
    expected_language_preference_rate: float | None = Field(
        description="What chance would make of it."
    )
    peer: float | None = Field(
        description="Mean p-value, Kruskal-Wallis by answer, that ranks do not depend on the "
        "language: near 0.5 where they do not, near 0 where they do."
    )
    same_language: PreferenceOut | None = Field(description="Translations in the query's language.")
    languages: dict[str, PreferenceOut] = Field(
        description="Language to how it stood where the query was in another one."
    )
    z_threshold: float = Field(
        description="|z| from which a preference is flagged: without bias, one report in a "
        "thousand has a flag."
    )
    flagged: bool = Field(description="Whether any preference is.")


class LanguageReportOut(ResponseModel):
    """Language bias of the last answers. Later pages of an answer are not counted."""

    answers: int = Field(description="How many answers these figures rest on.")
    capacity: int = Field(description="How many are kept at most; the oldest make room.")
    query_languages: dict[str, int] = Field(description="Language to number of queries.")
    exposure: dict[str, float] = Field(description="Language to its mean share of the hits.")
    corpus_share: dict[str, float] = Field(
        description="Language to its mean share of the eligible passages."
    )
    exposure_lift: dict[str, float] = Field(
        description="Exposure divided by corpus share; 1 is parity, which is right only where "
        "every language has as much to say on what is asked."
    )
    same_language: SameLanguageOut | None = Field(description="Null where no answer could tell.")
    rank_agreement_with_score_order: float | None = Field(
        description="Mean Kendall's tau-a between the orders by probability and by score."
    )
    score_offset: dict[str, float] = Field(
        description="Language pair to the mean of its score offsets."
    )
    by_score: ParallelBiasOut = Field(description="Ordered by score: the bias of the encoder.")
    by_probability: ParallelBiasOut = Field(
        description="Ordered by probability: what calibration leaves of it."
    )


@router.get(
    "/v1/diagnostics/languages",
    operation_id="getLanguageDiagnostics",
    summary="Language bias",
    tags=["model"],
    responses={**answered(LANGUAGE_REPORTS), **documented(409, 500, 503)},
)
async def language_diagnostics(services: ServicesDep) -> LanguageReportOut:
    """Say which languages the last answers showed, and whether translations were treated alike.

    Only the order of translations raises a flag: they answer equally well, so nothing but bias
    or chance orders them, and chance is ruled out. They are recognised by `parallel_id`.
    """
    report = await asyncio.to_thread(services.search.memory.window.report)
    return LanguageReportOut.model_validate(asdict(report))
