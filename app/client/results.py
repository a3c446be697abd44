"""What calls return: frozen models. Members that a newer service adds are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class HitLanguage(_Result):
    """Language of a passage; ``code`` is a BCP-47 tag, or ``und``."""

    code: str


class Highlight(_Result):
    """Where a word of the query stands in a text: first character, and the one after its last."""

    start: int
    end: int


class Hit(_Result):
    """One passage that was found.

    Attributes:
        id: Id that the passage was stored under.
        rank: Position in the whole answer, from 1.
        probability: P(relevant), fitted on labels; ``None`` without a calibrator.
        probability_interval: How well that is known; ``None`` where the calibrator does not say.
        probability_source: Which part of the calibrator spoke.
        extrapolated: Whether the probability lies outside what the calibrator has seen.
        score: Cosine of the encoder's vectors; comparable only within one encoder.
        score_kind: What ``score`` is.
        lexical_score: BM25 of the words of the query; ``None`` but in hybrid retrieval.
        language: Language of the passage.
        text: The passage, unless left out of ``include``.
        parallel_id: Shared by translations of one text.
        metadata: As it was stored, unless left out of ``include``.
        highlights: Where words of the query stand in the text, if ``include`` asks for it.
        explanation: Where rank and probability come from, if ``explain`` asks for it.
        feedback_token: What ``feedback`` needs to say whether this answers; ``None`` without a
            probability.
    """

    id: str
    rank: int
    probability: float | None
    probability_source: str
    extrapolated: bool
    score: float
    score_kind: str
    language: HitLanguage
    text: str | None = None
    parallel_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    highlights: tuple[Highlight, ...] | None = None
    explanation: Mapping[str, Any] | None = None
    feedback_token: str | None = None
    probability_interval: tuple[float, float] | None = None
    lexical_score: float | None = None


class Page(_Result):
    """Which part of the result this is; ``next_cursor`` leads to the next one.

    Attributes:
        limit: How many hits were asked for.
        offset: How many hits of the answer come before these.
        returned: How many hits are here.
        candidates: How many passages were ranked.
        relation: ``eq`` where all eligible passages were ranked, ``gte`` where there are more.
        dropped_below_min_probability: Candidates left out for ``min_probability``.
        dropped_by_target_precision: Candidates left out for ``target_precision``.
        next_cursor: ``None`` on the last page.
    """

    limit: int
    offset: int = 0
    returned: int
    candidates: int
    relation: str = "gte"
    dropped_below_min_probability: int = 0
    dropped_by_target_precision: int = 0
    next_cursor: str | None = None


class LanguageAlternative(_Result):
    """Another language that the query may be in."""

    code: str
    confidence: float


class QueryLanguage(_Result):
    """What is believed about the language of the query."""

    code: str
    confidence: float
    source: str
    alternatives: tuple[LanguageAlternative, ...] = ()


class Model(_Result):
    """What answered: bundle, encoder, calibrator and collection."""

    bundle: str
    encoder: str
    calibrator: str | None
    collection: str


class SearchWarning(_Result):
    """Something that is no error, but should be known."""

    code: str
    detail: str


class AnswerThreshold(_Result):
    """What ``answerable_probability`` has to reach to count as an answer, and what that promises.

    Attributes:
        value: The probability.
        kind: ``crc`` or ``ltt``.
        target: Bound on the share of answered queries whose first hit is wrong.
        confidence: Of the bound; ``None`` for ``crc``.
        n: Queries that it was chosen on.
        scope: Which ones.
        guarantee: The promise in one sentence.
    """

    value: float
    kind: str
    target: float
    confidence: float | None
    n: int
    scope: str
    guarantee: str


class SearchResult(_Result):
    """The answer to a search.

    Attributes:
        query_id: Names this answer.
        outcome: ``ok``, ``no_confident_match`` or ``degraded``.
        answerable_probability: P(the best-scoring passage answers the query).
        answer_threshold: What that has to reach; ``None`` where the calibrator has none.
        expected_relevant: Sum of the probabilities of the hits.
        hits: Best first.
        page: Which part of the result this is.
        query_language: What is believed about the language of the query.
        diagnostics: What ``diagnostics`` asked for.
        model: What answered.
        warnings: What should be known.
        took_ms: Milliseconds that the search took.
    """

    query_id: str
    outcome: str
    answerable_probability: float | None
    answer_threshold: AnswerThreshold | None = None
    expected_relevant: float | None
    hits: tuple[Hit, ...]
    page: Page
    query_language: QueryLanguage
    diagnostics: Mapping[str, Any] | None = None
    model: Model
    warnings: tuple[SearchWarning, ...] = ()
    took_ms: float


class Problem(_Result):
    """Why one search of a batch was not answered."""

    status: int
    code: str
    detail: str


class BatchItem(_Result):
    """The answer to one search of a batch: a result or a problem."""

    status: int
    response: SearchResult | None = None
    problem: Problem | None = None


class Batch(_Result):
    """The answers to a batch, in the order of the searches."""

    results: tuple[BatchItem, ...]


class StoredPassage(_Result):
    """A stored passage; ``document_id`` and ``span`` say what it was split from."""

    id: str
    text: str
    language: str
    parallel_id: str | None = None
    metadata: Mapping[str, Any] = Field(default_factory=dict)
    document_id: str | None = None
    span: tuple[int, int] | None = None


class FeedbackReceipt(_Result):
    """What became of feedback on one hit.

    Attributes:
        status: ``accepted``, ``duplicate`` or, in batches, ``rejected``.
        reason: Why it was rejected: ``forged``, ``expired`` or ``unknown``.
        query_id: Of the answer.
        id: Of the passage.
        relevant: The label that counts now; ``None`` where there is none.
    """

    status: str
    reason: str | None = None
    query_id: str | None = None
    id: str | None = None
    relevant: bool | None = None


class FeedbackBatch(_Result):
    """What became of feedback on several hits, in their order."""

    results: tuple[FeedbackReceipt, ...]


class LineError(_Result):
    """Why a passage was rejected."""

    code: str
    detail: str


class Line(_Result):
    """What became of one passage of an upload.

    Attributes:
        line: Its number among those that were sent, from 1.
        id: Its id, where it has one.
        status: ``created``, ``updated``, ``unchanged`` or ``rejected``.
        language: Language that it was stored with, where it was written.
        passages: How many passages it was split into, if it was.
        error: Why it was rejected.
    """

    line: int
    id: str | None = None
    status: str
    language: str | None = None
    passages: int | None = None
    error: LineError | None = None

    @property
    def is_stored(self) -> bool:
        """Whether the passage can be found now."""
        return self.status != "rejected"


class UploadReport(_Result):
    """What became of an upload.

    Attributes:
        received: Passages that were sent.
        created: Those whose id was new.
        updated: Those that replaced another content.
        unchanged: Those that were there already.
        rejected: The others, with reasons.
    """

    received: int
    created: int
    updated: int
    unchanged: int
    rejected: tuple[Line, ...]

    @property
    def stored(self) -> int:
        """Passages that can be found now."""
        return self.received - len(self.rejected)


class Health(_Result):
    """Whether the service answers searches.

    Attributes:
        is_ready: Whether it does.
        detail: Why not; empty if it does.
        passages: How many passages it holds; ``None`` if it is not ready.
        model: What answers; ``None`` if it is not ready.
    """

    is_ready: bool
    detail: str = ""
    passages: int | None = None
    model: Model | None = None


class ReadyBody(_Result):
    """The answer of a service that is ready."""

    model: Model
    passages: int

    def health(self) -> Health:
        """Return it as ``Health``."""
        return Health(is_ready=True, passages=self.passages, model=self.model)
