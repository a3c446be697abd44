"""Every metric of the service: name, type, labels, buckets and meaning, each defined once.

``docs/metrics.md`` shows this table, and a test compares the two. Names and base units follow the
conventions of Prometheus. Labels are bounded: languages are an allow-list and ``other``, a hit's
relation has two values (never the language pair), and at most two calibrators are told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "summary"]
Sharing = Literal["mostrecent", "livesum"]

PROBABILITY_BUCKETS = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98,
)  # fmt: skip
"""Upper bounds of probability histograms: fine at both ends, where decisions are made."""

SCORE_BUCKETS = tuple(round(-0.1 + 0.05 * step, 2) for step in range(23))
"""Upper bounds of score histograms, -0.1 to 1 in steps of 0.05: uniform, so that the sum of the
differences between two distributions times 0.05 is their Wasserstein distance in cosine."""

SECONDS_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
STAGE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5)
TEXTS_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
DELAY_BUCKETS = (60.0, 600.0, 3600.0, 21600.0, 86400.0, 259200.0, 604800.0, 2592000.0)
"""Upper bounds of the time between a search and its feedback: a minute to thirty days."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What is exposed under one name.

    Attributes:
        name: As Prometheus reads it; counters end in ``_total``.
        kind: Its type.
        meaning: What it counts or measures, in a sentence; the help text.
        labels: Names of its labels.
        buckets: Upper bounds of a histogram, without infinity.
        sharing: How several processes add up a gauge (see ``prometheus_client``).
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    sharing: Sharing = "mostrecent"


def _counter(name: str, meaning: str, *labels: str) -> Spec:
    return Spec(name, "counter", meaning, labels)


def _gauge(name: str, meaning: str, *labels: str, sharing: Sharing = "mostrecent") -> Spec:
    return Spec(name, "gauge", meaning, labels, sharing=sharing)


def _histogram(name: str, meaning: str, *labels: str, buckets: tuple[float, ...]) -> Spec:
    return Spec(name, "histogram", meaning, labels, buckets)


HTTP_REQUESTS = _counter(
    "isoglot_http_requests_total",
    "HTTP requests answered, by class of status (2xx, 3xx, 4xx, 5xx).",
    "route", "method", "status",
)  # fmt: skip
HTTP_ERRORS = _counter(
    "isoglot_http_errors_total",
    "HTTP requests answered with an error, by exact status; 499: the client left first.",
    "status",
)
HTTP_DURATION = _histogram(
    "isoglot_http_request_duration_seconds",
    "Time from the first byte of a request to the last byte of its response. Routes without an "
    "objective of their own are `other`.",
    "route",
    buckets=SECONDS_BUCKETS,
)
HTTP_IN_PROGRESS = _gauge(
    "isoglot_http_requests_in_progress", "HTTP requests being answered now.", sharing="livesum"
)
SEARCHES_REFUSED = _counter(
    "isoglot_searches_refused_total",
    "Searches and embeddings refused at once because too many were under way.",
)

QUERIES = _counter(
    "isoglot_queries_total",
    "Searches answered, by language of the query and by what came of them: answered, abstained "
    "(nothing fits), degraded (out of time), uncalibrated (no probabilities).",
    "query_lang", "decision",
)  # fmt: skip
STAGE_DURATION = _histogram(
    "isoglot_search_stage_duration_seconds",
    "Time a search spent in one of its stages.",
    "stage",
    buckets=STAGE_BUCKETS,
)
HIT_PROBABILITY = _histogram(
    "isoglot_hit_probability",
    "Stated probability of relevance of every returned hit; of a shadow calibrator, what it would "
    "have stated.",
    "calibrator", "relation", "position",
    buckets=PROBABILITY_BUCKETS,
)  # fmt: skip
HIT_SCORE = _histogram(
    "isoglot_hit_score",
    "Cosine of every returned hit.",
    "encoder", "relation",
    buckets=SCORE_BUCKETS,
)  # fmt: skip
LANGUAGE_HIT_SCORE = Spec(
    "isoglot_language_hit_score",
    "summary",
    "Cosine of every returned hit by language of the query; sum over count is the mean.",
    ("encoder", "query_lang", "relation"),
)
EXPECTED_RELEVANT = _counter(
    "isoglot_expected_relevant_hits_total",
    "Sum of the stated probabilities of returned hits: how many of them should be relevant.",
    "calibrator", "relation",
)  # fmt: skip
EXTRAPOLATED = _counter(
    "isoglot_extrapolated_hits_total",
    "Returned hits outside what the calibrator was fitted on.",
    "calibrator",
)

_BINNED = ("calibrator", "relation", "bin", "source")
FEEDBACK_HITS = _counter(
    "isoglot_feedback_hits_total",
    "Labelled hits, by tenth of the probability that was stated when they were served.",
    *_BINNED,
)
FEEDBACK_RELEVANT = _counter(
    "isoglot_feedback_relevant_total", "Labelled hits that are relevant.", *_BINNED
)
FEEDBACK_PROBABILITY = _counter(
    "isoglot_feedback_probability_sum_total",
    "Sum of the stated probabilities p of labelled hits.",
    *_BINNED,
)
FEEDBACK_VARIANCE = _counter(
    "isoglot_feedback_variance_sum_total", "Sum of p(1-p) of labelled hits.", *_BINNED
)
FEEDBACK_BRIER = _counter(
    "isoglot_feedback_brier_sum_total", "Sum of (p-y)^2 of labelled hits.", *_BINNED
)
_BY_LANGUAGE = ("calibrator", "query_lang", "relation")
LANGUAGE_FEEDBACK_HITS = _counter(
    "isoglot_language_feedback_hits_total",
    "Labelled hits of the active calibrator, by language of the query.",
    *_BY_LANGUAGE,
)
LANGUAGE_FEEDBACK_RELEVANT = _counter(
    "isoglot_language_feedback_relevant_total", "Those that are relevant.", *_BY_LANGUAGE
)
LANGUAGE_FEEDBACK_PROBABILITY = _counter(
    "isoglot_language_feedback_probability_sum_total",
    "Sum of their stated probabilities p.",
    *_BY_LANGUAGE,
)
LANGUAGE_FEEDBACK_VARIANCE = _counter(
    "isoglot_language_feedback_variance_sum_total", "Sum of their p(1-p).", *_BY_LANGUAGE
)
LANGUAGE_FEEDBACK_BRIER = _counter(
    "isoglot_language_feedback_brier_sum_total", "Sum of their (p-y)^2.", *_BY_LANGUAGE
)
FEEDBACK_DELAY = _histogram(
    "isoglot_feedback_delay_seconds",
    "Time from a search to feedback on one of its hits.",
    "source",
    buckets=DELAY_BUCKETS,
)
FEEDBACK_REJECTED = _counter(
    "isoglot_feedback_rejected_total",
    "Feedback that was not counted: token forged, expired, of something unknown here, or a "
    "duplicate, which changes nothing.",
    "reason",
)
FEEDBACK_REVISED = _counter(
    "isoglot_feedback_revised_total",
    "Labels that another one replaced (changed) or that were taken back (withdrawn). They leave "
    "the sums above with the next labels of their series.",
    "change",
)
FEEDBACK_CLICKS = _counter(
    "isoglot_feedback_clicks_total",
    "Clicks on hits. They depend on the position, so they are no labels and enter nothing else.",
    "position",
)
FEEDBACK_UNTRACKED = _counter(
    "isoglot_feedback_untracked_hits_total",
    "Labelled hits of calibrators that have no series any more; the log has them.",
)

REFERENCE_SCORE_CDF = _gauge(
    "isoglot_reference_score_cdf_ratio",
    "Share of the hits of the bundle's reference lists with at most this score.",
    "encoder", "relation", "le",
)  # fmt: skip
REFERENCE_PROBABILITY_CDF = _gauge(
    "isoglot_reference_probability_cdf_ratio",
    "Share of the hits of the bundle's reference lists with at most this probability.",
    "calibrator", "relation", "le",
)  # fmt: skip
REFERENCE_BASE_RATE = _gauge(
    "isoglot_reference_base_rate_ratio",
    "Share of relevant hits among those the bundle's calibrator was fitted on.",
    "relation",
)

CALIBRATOR_INFO = _gauge(
    "isoglot_calibrator_info",
    "1 while the calibrator is in use; role is active or shadow.",
    "calibrator", "encoder", "kind", "role",
)  # fmt: skip
CALIBRATOR_FITTED = _gauge(
    "isoglot_calibrator_fitted_timestamp_seconds",
    "When the calibrator was fitted, in seconds since 1970, where that is known.",
    "calibrator",
)
BUNDLE_INFO = _gauge(
    "isoglot_bundle_info",
    "1 for the loaded bundle.",
    "bundle", "encoder", "calibrator",
)  # fmt: skip
BUNDLE_LOADED = _gauge(
    "isoglot_bundle_loaded_timestamp_seconds", "When the bundle was loaded, in seconds since 1970."
)
READY = _gauge("isoglot_ready", "1 while searches are answered; 0 during start and stop.")
BUILD_INFO = _gauge("isoglot_build_info", "1 for the running version.", "version")

ENCODER_ENGINE = _gauge("isoglot_encoder_engine_info", "1 for what computes the encoder.", "engine")
QUEUE_TOKENS = _gauge(
    "isoglot_encoder_queue_tokens",
    "Tokens of texts that wait for the encoder.",
    "lane",
    sharing="livesum",
)
QUEUE_WAIT = _histogram(
    "isoglot_encoder_queue_wait_seconds",
    "Time a text waited for the encoder.",
    "lane",
    buckets=STAGE_BUCKETS,
)
QUEUE_REFUSED = _counter(
    "isoglot_encoder_queue_refused_total", "Requests refused because the queue was full.", "lane"
)
BATCH_TEXTS = _histogram(
    "isoglot_encoder_batch_texts", "Texts in one pass of the encoder.", buckets=TEXTS_BUCKETS
)
FORWARD_DURATION = _histogram(
    "isoglot_encoder_forward_duration_seconds",
    "Time of one pass of the encoder.",
    "lane",
    buckets=STAGE_BUCKETS,
)
CACHE_REQUESTS = _counter(
    "isoglot_embedding_cache_requests_total", "Look-ups of query embeddings.", "result"
)
CACHE_BYTES = _gauge(
    "isoglot_embedding_cache_bytes", "Memory held by the cache.", sharing="livesum"
)

STORE_DURATION = _histogram(
    "isoglot_store_request_duration_seconds",
    "Time of one call of the passage store.",
    "operation",
    buckets=STAGE_BUCKETS,
)
STORE_ERRORS = _counter(
    "isoglot_store_errors_total", "Calls of the passage store that failed.", "operation"
)
STORE_PASSAGES = _gauge("isoglot_store_passages", "Stored passages.")
STORE_INDEXED = _gauge(
    "isoglot_store_indexed_passages", "Passages in the approximate index; 0: search is exact."
)
INGESTED = _counter("isoglot_passages_ingested_total", "Passages stored through the API.")
REJECTED = _counter("isoglot_passages_rejected_total", "Passages refused by the API.")

CATALOGUE = tuple(spec for spec in globals().copy().values() if isinstance(spec, Spec))
"""All of them, in the order above."""
