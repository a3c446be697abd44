"""Wire models: what is sent and returned. ``app/api/convert.py`` maps them to the core's types."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from app.core.search import MAX_LIMIT, MAX_QUERY_CHARACTERS


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Response(BaseModel):
    # The service fills in every member itself, so responses state each of them.
    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


LanguageTag = Annotated[
    str, Field(description="BCP-47 language tag, for example `de`, `pt-BR` or `zh-Hant`.")
]
Probability = Annotated[float, Field(ge=0, le=1)]


class LanguageOptions(_Request):
    """Which languages are asked in and about."""

    query: str | None = Field(
        default=None,
        description="Language of the query. Left out, null or `auto`: it is identified. `und`: "
        "it is not known, and not guessed.",
        examples=["de"],
    )
    candidates: list[LanguageTag] | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Languages that the identification may choose from.",
        examples=[["de", "en", "fr"]],
    )
    passages: list[LanguageTag] | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Only passages in these languages are eligible; `pt` includes `pt-BR`.",
        examples=[["en", "fr"]],
    )


class SearchBody(_Request):
    """A search."""

    # Lengths and ranges that the core checks are described here, but left to it to enforce: it
    # says better what was wrong.
    query: str = Field(
        description=f"The text to search for, in any language; 1 to {MAX_QUERY_CHARACTERS} "
        "characters.",
        examples=["Wie finde ich das Loch im Fahrradschlauch?"],
    )
    limit: int = Field(
        default=10, description=f"How many hits to return at most, 1 to {MAX_LIMIT}."
    )
    language: LanguageOptions = Field(
        default_factory=LanguageOptions, description="Which languages are asked in and about."
    )
    min_probability: float | None = Field(
        default=None,
        description="Hits with a lower probability of relevance are left out, 0 to 1. It never "
        "changes the probability of those that stay.",
        examples=[0.5],
    )
    rank_by: Literal["probability", "score"] = Field(
        default="probability",
        description="Order of the hits. It never changes a hit's probability.",
    )
    include: list[Literal["text", "metadata"]] = Field(
        default=["text", "metadata"],
        description="What to return of every passage beside its id and language.",
    )
    diagnostics: list[Literal["language", "timing"]] = Field(
        default=[],
        description="`language`: which languages are shown against which could have been. "
        "`timing`: milliseconds by stage.",
    )


class HitLanguage(_Response):
    """Language of a passage."""

    code: str = Field(description="BCP-47 tag, `und` where it is not known.", examples=["de"])


class HitOut(_Response):
    """One passage that was found."""

    id: str = Field(description="The id that the passage was stored under.")
    rank: int = Field(ge=1, description="Position in this response, from 1.")
    probability: Probability | None = Field(
        description="How likely it is that this passage answers the query: of all hits with a "
        "stated probability of 0.7, about seven in ten do. Output of a calibrator that was fitted "
        "on labelled data; null where the bundle has none. No option of the request changes it, "
        "except that filters change how many passages are eligible.",
        examples=[0.91],
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
    language: HitLanguage
    text: str | None = Field(description="The passage; null unless included.")
    parallel_id: str | None = Field(description="Shared by translations of one text.")
    metadata: dict[str, JsonValue] | None = Field(
        description="As it was stored; null unless included."
    )


class Page(_Response):
    """Which part of the result this is."""

    limit: int = Field(description="How many hits were asked for.")
    returned: int = Field(description="How many hits are here.")
    candidates: int = Field(description="How many passages were considered.")
    dropped_below_min_probability: int = Field(
        description="How many of the best `limit` passages were left out for `min_probability`."
    )


class LanguageAlternative(_Response):
    """Another language that the query may be in."""

    code: str
    confidence: Probability


class QueryLanguage(_Response):
    """What is believed about the language of the query."""

    code: str = Field(description="The most likely language, `und` where nothing is known.")
    confidence: Probability = Field(description="Probability of `code`.")
    source: Literal["declared", "detected", "unknown"]
    alternatives: list[LanguageAlternative] = Field(description="Most likely first, at most 3.")


class LanguageDiagnosticsOut(_Response):
    """Language bias of this response."""

    exposure: dict[str, float] = Field(description="Language to its share of the hits.")
    corpus_share: dict[str, float] = Field(
        description="Language to its share of the eligible passages."
    )
    exposure_lift: dict[str, float] = Field(
        description="Exposure divided by corpus share; 1 is parity."
    )
    same_language_share: float | None = Field(
        description="Share of hits in the query's language; null where that is not known."
    )
    rank_agreement_with_score_order: float | None = Field(
        description="Kendall's tau-a between the order by probability and by score, -1 to 1; "
        "null with fewer than two hits or without probabilities."
    )
    filtered_corpus_size: int = Field(description="Number of eligible passages.")


class Diagnostics(_Response):
    """What was asked for in `diagnostics`; null where it was not."""

    language: LanguageDiagnosticsOut | None
    timing: dict[str, float] | None = Field(description="Stage to milliseconds.")


class ModelOut(_Response):
    """What answered."""

    bundle: str = Field(description="Name and id of the bundle.", examples=["starter@0123456789ab"])
    encoder: str = Field(description="Fingerprint of the encoder.")
    calibrator: str | None = Field(description="Id of the calibrator; null where there is none.")
    collection: str = Field(description="Name of the collection.")


class WarningOut(_Response):
    """Something that is no error, but should be known."""

    code: str
    detail: str


class SearchResponse(_Response):
    """The answer to a search."""

    query_id: str = Field(description="Names this answer.")
    outcome: Literal["ok", "no_confident_match"] = Field(
        description="`no_confident_match` where nothing is returned; never an error."
    )
    answerable_probability: Probability | None = Field(
        description="How likely it is that the best-scoring passage answers the query; where it "
        "is low, nothing here does. Null without a calibrator."
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


class PassageIn(_Request):
    """A passage to store."""

    id: str = Field(
        description="Your identifier, 1 to 512 characters; an existing passage is replaced.",
        examples=["bicycle-puncture.de"],
    )
    text: str = Field(description="The text that is searched and shown, up to 50000 characters.")
    language: str | None = Field(
        default=None,
        description="BCP-47 tag; left out, null or `und`: it is identified.",
        examples=["de"],
    )
    parallel_id: str | None = Field(
        default=None, description="Shared by translations of one text.", examples=["puncture"]
    )
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict, description="Anything JSON; returned as it came."
    )


class PassageBatch(_Request):
    """Passages to store, all or none of them."""

    passages: list[PassageIn] = Field(description="Of two with one id the later one is kept.")


class PassageOut(_Response):
    """A stored passage."""

    id: str
    text: str
    language: str = Field(description="BCP-47 tag, `und` where it is not known.")
    parallel_id: str | None
    metadata: dict[str, JsonValue]


class StoredOut(_Response):
    """What an upload did."""

    stored: int = Field(description="Number of distinct passages stored; they survive power loss.")
