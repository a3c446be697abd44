"""Wire models of searches: what is asked. ``search_convert.py`` maps them to the core's types."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from app.api.wire import LanguageTag, RequestModel
from app.core.search.types import (
    DEFAULT_CANDIDATES,
    MAX_CANDIDATES,
    MAX_LIMIT,
    MAX_QUERY_CHARACTERS,
    MAX_SEARCHES,
    MAX_TIMEOUT_MS,
)

# Lengths and ranges that the core checks are described here, but left to it to enforce: it says
# better what was wrong.


class LanguageOptions(RequestModel):
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
    mode: Literal["any", "prefer", "balance"] = Field(
        default="any",
        description="`any`: the most probable first, in whatever language. `prefer`: ordered by "
        "weight times probability. `balance`: every language contributes candidates of its own, "
        "merged by probability. No mode changes a hit's probability.",
    )
    prefer: dict[str, float] | None = Field(
        default=None,
        description="With mode `prefer`: BCP-47 tag to weight, 0 to 1. `*` stands for languages "
        "that are not listed, else they weigh 0.1. Left out: the weights of the header "
        "`Accept-Language`.",
        examples=[{"de": 1.0, "en": 0.4}],
    )


class SearchBody(RequestModel):
    """A search."""

    query: str = Field(
        description=f"The text to search for, in any language; 1 to {MAX_QUERY_CHARACTERS} "
        "characters.",
        examples=["Wie finde ich das Loch im Fahrradschlauch?"],
    )
    limit: int = Field(
        default=10, description=f"How many hits to return at most, 1 to {MAX_LIMIT}."
    )
    offset: int = Field(
        default=0,
        description="How many hits to leave out at the beginning. Together with `limit` it must "
        "stay within `candidates`. Each page is searched anew; a cursor is not.",
    )
    cursor: str | None = Field(
        default=None,
        description="`page.next_cursor` of an earlier response, to go on with that very answer, "
        "whatever was stored since. The rest of the request must be the same but for `limit`, "
        "`include`, `explain` and `diagnostics`. Kept for five minutes after its last use.",
    )
    candidates: int = Field(
        default=DEFAULT_CANDIDATES,
        description=f"How many of the nearest passages are ranked, {MAX_LIMIT} to "
        f"{MAX_CANDIDATES}; how far pages reach. It never changes a hit's probability.",
    )
    retrieval: Literal["dense", "hybrid"] = Field(
        default="dense",
        description="`dense`: the passages nearest to the query. `hybrid`: also the 50 whose words "
        "fit it best. Its probabilities come from a calibrator of its own, which `model` names; "
        "where the bundle has none they are null, and the order is that of reciprocal rank fusion. "
        "Needs a collection whose words are indexed (`ISOGLOT_HYBRID`), else 409.",
    )
    filter: dict[str, JsonValue] | None = Field(
        default=None,
        description="Only passages for which it holds are eligible: `must`, `should` and "
        "`must_not` over declared fields, as in Qdrant.",
        examples=[{"must": [{"key": "parallel_id", "match": {"value": "bicycle-puncture"}}]}],
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
    target_precision: float | None = Field(
        default=None,
        description="Instead of `min_probability`: the answer is cut at the deepest place where "
        "the mean probability, which is the precision to expect, is not lower; 0 to 1.",
        examples=[0.8],
    )
    rank_by: Literal["probability", "score"] = Field(
        default="probability",
        description="Order of the hits. It never changes a hit's probability. Where there is none, "
        "`probability` is by reciprocal rank fusion in hybrid retrieval, else by score.",
    )
    include: list[Literal["text", "metadata", "highlights"]] = Field(
        default=["text", "metadata"],
        description="What to return of every passage beside its id and language. `highlights`: "
        "where words of the query stand in it.",
    )
    explain: Literal["none", "basic", "full"] = Field(
        default="none",
        description="`basic`: what each hit's rank was by score, and its language's weight. "
        "`full`: also every feature with what it adds to the logit of the probability.",
    )
    diagnostics: list[Literal["language", "calibration", "timing"]] = Field(
        default=[],
        description="`language`: which languages are shown against which could have been. "
        "`calibration`: what the probabilities rest on. `timing`: milliseconds by stage.",
    )
    timeout_ms: int | None = Field(
        default=None,
        description=f"How long the search may take, in milliseconds, 1 to {MAX_TIMEOUT_MS}.",
        examples=[800],
    )
    on_timeout: Literal["error", "degraded"] = Field(
        default="error",
        description="Where `timeout_ms` was not enough: an error (504), or a result with the "
        "outcome `degraded`, which may be empty.",
    )


class SearchBatch(RequestModel):
    """Several searches at once."""

    searches: list[SearchBody] = Field(
        min_length=1,
        max_length=MAX_SEARCHES,
        description="Each is answered as if it came alone. They share one pass of the encoder "
        "and one call of the store; the answer comes when all are done.",
    )
