"""Wire models of answers to searches. ``search_convert.py`` fills them in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from app.api.problem import Problem
from app.api.schemas.common import ModelOut
from app.api.wire import Probability, ResponseModel


class HitLanguage(ResponseModel):
    """Language of a passage."""

    code: str = Field(description="BCP-47 tag, `und` where it is not known.", examples=["de"])


class HighlightOut(ResponseModel):
    """Where a word of the query stands in a text."""

    start: int = Field(description="Its first character, from 0.")
    end: int = Field(description="The character after its last.")


class TermOut(ResponseModel):
    """One summand of a logit."""

    feature: str = Field(examples=["score"])
    value: float = Field(
        description="Value of the feature for this hit; of `score`, as the calibrator reads it."
    )
    weight: float = Field(description="Its weight in the calibrator.")
    contribution: float = Field(description="What it adds to the logit: weight times value.")


class HeadOut(ResponseModel):
    """What one part of the calibrator says of a hit."""

    head: Literal["same", "cross", "pooled"] = Field(
        description="For query and passage in the same language, in different ones, or not known."
    )
    query_language: str | None = Field(
        description="The language of the query that it speaks for; null where it is none in "
        "particular."
    )
    share: Probability = Field(description="How much of the probability is taken from it.")
    terms: list[TermOut]
    intercept: float = Field(description="The constant of its logit.")
    logit: float = Field(description="Sum of the contributions and the intercept.")
    probability: Probability = Field(description="The logit, squashed.")


class ExplanationOut(ResponseModel):
    """Where a hit's place and probability come from."""

    calibrator: str | None = Field(description="Id of the calibrator; null where there is none.")
    rank_before: int = Field(description="Rank by score alone, from 1.")
    lexical_rank: int | None = Field(
        description="Rank by `lexical_score` alone, from 1; null where that is 0 or null."
    )
    fusion: float | None = Field(
        description="Reciprocal rank fusion: the sum of 1 / (60 + rank) over `rank_before` and "
        "`lexical_rank`. In another language than the query's, `rank_before` counts a second time "
        "where it is better than `lexical_rank`. Null but in hybrid retrieval."
    )
    rank_after: int = Field(description="Rank in the answer, from 1.")
    language_weight: float = Field(description="Weight in mode `prefer`, otherwise 1.")
    heads: list[HeadOut] = Field(
        description="The probability is the sum of their shares times their probabilities. "
        "Empty unless asked for in full."
    )


class HitOut(ResponseModel):
    """One passage that was found."""

    id: str = Field(description="The id that the passage was stored under.")
    rank: int = Field(ge=1, description="Position in the whole answer, from 1.")
    probability: Probability | None = Field(
        description="How likely it is that this passage answers the query: of all hits with a "
        "stated probability of 0.7, about seven in ten do. Output of a calibrator that was fitted "
        "on labelled data; null where the bundle has none. No option of the request changes it, "
        "except that filters change how many passages are eligible.",
        examples=[0.91],
    )
    probability_interval: tuple[Probability, Probability] | None = Field(
        description="How well `probability` is known: wide where few labels say what it rests on, "
        "as for languages without any. It covers the fit of the calibrator, not whether this one "
        "passage answers. Null where the calibrator says nothing of it.",
        examples=[[0.86, 0.94]],
    )
    probability_source: str = Field(
        description="Which part of the calibrator spoke: `relation:same`, `relation:cross` (both "
        "languages known, with labels), `fallback:same`, `fallback:cross` (a language had no "
        "labels), `mixture` (query language uncertain), `pooled` (a language is not known), or "
        "`uncalibrated`.",
        examples=["relation:cross"],
    )
    extrapolated: bool = Field(
        description="Whether score or corpus size lie outside what the calibrator has seen."
    )
    score: float = Field(
        description="Similarity of query and passage in the encoder's space; comparable only "
        "within one encoder.",
        examples=[0.8342],
    )
    score_kind: Literal["cosine"] = Field(description="What `score` is.")
    lexical_score: float | None = Field(
        description="How well its words fit those of the query (BM25), 0 where it shares none; "
        "comparable only within one answer. Null but in hybrid retrieval.",
        examples=[7.31],
    )
    language: HitLanguage
    text: str | None = Field(description="The passage; null unless included.")
    parallel_id: str | None = Field(description="Shared by translations of one text.")
    metadata: dict[str, JsonValue] | None = Field(
        description="As it was stored; null unless included."
    )
    highlights: list[HighlightOut] | None = Field(
        description="Where words of the query stand in the first 10000 characters of the text, "
        "at most 20; null unless included. The probability does not depend on them."
    )
    explanation: ExplanationOut | None = Field(description="Null unless asked for.")
    feedback_token: str | None = Field(
        description="Send it to `POST /v1/feedback` with whether the passage answers the query. "
        "It is signed, and expires; null where no probability was stated, and in hybrid retrieval."
    )


class Page(ResponseModel):
    """Which part of the result this is."""

    limit: int = Field(description="How many hits were asked for.")
    offset: int = Field(description="How many hits of the answer come before these.")
    returned: int = Field(description="How many hits are here.")
    candidates: int = Field(description="How many passages were ranked.")
    relation: Literal["eq", "gte"] = Field(
        description="`eq`: all eligible passages were ranked. `gte`: there are more."
    )
    dropped_below_min_probability: int = Field(
        description="How many candidates were left out for `min_probability`."
    )
    dropped_by_target_precision: int = Field(
        description="How many candidates were left out for `target_precision`."
    )
    next_cursor: str | None = Field(
        description="Send it as `cursor` for the next page; null on the last one."
    )


class LanguageAlternative(ResponseModel):
    """Another language that the query may be in."""

    code: str
    confidence: Probability


class QueryLanguage(ResponseModel):
    """What is believed about the language of the query."""

    code: str = Field(description="The most likely language, `und` where nothing is known.")
    confidence: Probability = Field(description="Probability of `code`.")
    source: Literal["declared", "detected", "unknown"]
    alternatives: list[LanguageAlternative] = Field(description="Most likely first, at most 3.")


class LanguageDiagnosticsOut(ResponseModel):
    """Language bias of this response."""

    exposure: dict[str, float] = Field(description="Language to its share of the hits.")
    corpus_share: dict[str, float] = Field(
        description="Language to its share of the eligible passages."
    )
    exposure_lift: dict[str, float] = Field(
        description="Exposure divided by corpus share; 1 is parity."
    )
    score_offset: dict[str, float] = Field(
        description="Language pair, query and passage, to how much higher these hits score than "
        "equally probable ones in the query's language. Below 0, the encoder puts the pair lower "
        "and the calibrator makes up for it.",
        examples=[{"de>en": -0.031}],
    )
    same_language_share: float | None = Field(
        description="Share of hits in the query's language; null where that is not known."
    )
    rank_agreement_with_score_order: float | None = Field(
        description="Kendall's tau-a between the order by probability and by score, -1 to 1; "
        "null with fewer than two hits or without probabilities."
    )
    filtered_corpus_size: int = Field(description="Number of eligible passages.")


class CalibrationDiagnosticsOut(ResponseModel):
    """What the probabilities of this response rest on."""

    calibrator: str = Field(description="Id of the calibrator.")
    background: float | None = Field(
        description="Mean score of the background ranks of this query; null without candidates."
    )
    background_ranks: tuple[int, int] = Field(description="First and last background rank.")
    corpus_size: int = Field(description="Number of eligible passages.")
    corpus_range: tuple[float, float] = Field(description="Corpus sizes in the fit.")
    score_range: tuple[float, float] = Field(description="Scores in the fit.")
    extrapolated: int = Field(description="How many hits lie outside these ranges.")
    mean_probability: float | None = Field(
        description="The precision to expect of these hits; null without any."
    )
    measured: dict[str, JsonValue] = Field(
        description="What was measured on held-out data when the calibrator was fitted."
    )


class Diagnostics(ResponseModel):
    """What was asked for in `diagnostics`; null where it was not."""

    language: LanguageDiagnosticsOut | None
    calibration: CalibrationDiagnosticsOut | None = Field(
        description="Null also without a calibrator."
    )
    timing: dict[str, float] | None = Field(description="Stage to milliseconds.")


class WarningOut(ResponseModel):
    """Something that is no error, but should be known."""

    code: str
    detail: str


class AnswerThreshold(ResponseModel):
    """The threshold that decides between `ok` and `no_confident_match`, with its promise."""

    value: Probability = Field(description="What `answerable_probability` has to reach.")
    kind: Literal["crc", "ltt"] = Field(
        description="How it was chosen: conformal risk control, or Learn-then-Test."
    )
    target: Probability = Field(
        description="Bound on the share of answered queries whose first hit is wrong."
    )
    confidence: Probability | None = Field(
        description="Of the bound; null for `crc`, which bounds the expected share."
    )
    n: int = Field(description="Queries that it was chosen on.")
    scope: str = Field(description="Which ones; the promise is void for others.")
    guarantee: str = Field(description="The promise in one sentence.")


class SearchResponse(ResponseModel):
    """The answer to a search."""

    query_id: str = Field(description="Names this answer; all pages of one cursor have the same.")
    outcome: Literal["ok", "no_confident_match", "degraded"] = Field(
        description="`no_confident_match` where nothing fits, which is no error: there is no hit, "
        "or `answerable_probability` does not reach `answer_threshold`; the hits are still there "
        "to be looked at. `degraded` where `timeout_ms` was not enough; a warning says what is "
        "missing."
    )
    answerable_probability: Probability | None = Field(
        description="How likely it is that the best-scoring passage answers the query; where it "
        "is low, nothing here does. Null without a calibrator."
    )
    answer_threshold: AnswerThreshold | None = Field(
        description="Null where the calibrator has none."
    )
    expected_relevant: float | None = Field(
        description="How many of the returned hits are expected to be relevant: the sum of their "
        "probabilities. Null without a calibrator."
    )
    hits: list[HitOut] = Field(description="Best first.")
    page: Page
    query_language: QueryLanguage
    diagnostics: Diagnostics | None = Field(description="Null unless asked for.")
    model: ModelOut
    warnings: list[WarningOut]
    took_ms: float = Field(description="Time that the search took, in milliseconds.")


class BatchItem(ResponseModel):
    """The answer to one search of a batch: a response or a problem."""

    status: int = Field(description="HTTP status that the search would have had alone.")
    response: SearchResponse | None = Field(description="Null where there is a problem.")
    problem: Problem | None = Field(
        description="Null where there is a response. Its pointers are relative to the search."
    )


class SearchBatchResponse(ResponseModel):
    """The answers to a batch."""

    results: list[BatchItem] = Field(description="In the order of `searches`.")
    took_ms: float = Field(description="Time that the batch took, in milliseconds.")
