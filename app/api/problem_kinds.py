"""Every kind of problem: one table from errors to statuses and words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.core import errors as core


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem.

    Attributes:
        status: HTTP status code.
        title: The kind in words.
        explanation: What it means and what to do, served at ``/problems/{code}``.
    """

    status: int
    title: str
    explanation: str


_BUNDLE_HELP = "Check it with `isoglot bundle verify DIR`, and copy or build it again."

CORE_KINDS: Mapping[type[core.IsoglotError], Kind] = {
    core.IsoglotError: Kind(500, "Internal error", "The service failed. Report the request id."),
    core.InvalidInputError: Kind(
        422, "Invalid input", "A member of the request is out of range; `errors` points to it."
    ),
    core.InvalidQueryError: Kind(
        422, "Invalid query", "The query is empty or too long. Send a question of ordinary length."
    ),
    core.MalformedFilterError: Kind(
        400,
        "Malformed filter",
        "The filter breaks the grammar of must, should and must_not, or asks for a field that is "
        "not declared; `errors` points to the place. GET /v1/collections/{name} lists the fields.",
    ),
    core.InvalidCursorError: Kind(
        400,
        "Invalid cursor",
        "The cursor was not given out by this service, or belongs to another search. Use "
        "`page.next_cursor` as it is, with the request that it came from.",
    ),
    core.CursorExpiredError: Kind(
        410,
        "Cursor expired",
        "The answer that the cursor continues is not kept any more. Search again without a cursor.",
    ),
    core.DeadlineExceededError: Kind(
        504,
        "Out of time",
        "The search took longer than `timeout_ms`. Give it more time, or ask for `on_timeout` "
        "`degraded`.",
    ),
    core.WordsNotIndexedError: Kind(
        409,
        "Words not indexed",
        "Hybrid retrieval needs the words of the collection in its index. Start the service with "
        "ISOGLOT_HYBRID=true, which indexes them, or search without `retrieval`.",
    ),
    core.InvalidPassageError: Kind(
        422, "Invalid passage", "A passage cannot be stored; `errors` points to what is wrong."
    ),
    core.FeedbackRejectedError: Kind(
        422,
        "Feedback not accepted",
        "The token is not one that this service has signed, is too old, or belongs to another "
        "tenant. Send `feedback_token` of a recent hit as it is.",
    ),
    core.FeedbackLogError: Kind(
        503,
        "Feedback log unavailable",
        "Feedback cannot be kept for the moment, and nothing of the request was. Send it again "
        "later.",
    ),
    core.CalibratorShelfError: Kind(
        503,
        "Calibrators not usable",
        "The calibrators beside that of the bundle cannot be used. Look with `isoglot calibrator "
        "list`.",
    ),
    core.PassageNotFoundError: Kind(404, "Passage not found", "No passage with that id is stored."),
    core.CountMismatchError: Kind(
        409,
        "Another number of passages",
        "The filter selects another number of passages than `expected_count`, so that nothing was "
        "deleted. Ask again with `dry_run`, and check what it selects.",
    ),
    core.EncoderMismatchError: Kind(
        409,
        "Collection belongs to another encoder",
        "Vectors of two encoders cannot be compared. Serve the bundle that the collection was "
        "indexed with, or embed the stored passages with this one: `isoglot reindex`.",
    ),
    core.BackupError: Kind(
        409,
        "No backup",
        "A backup cannot be written, or not be restored; the detail says why.",
    ),
    core.ReindexingError: Kind(
        409,
        "Not reindexed",
        "Passages cannot be embedded anew now, or the result may not be served. The collection "
        "from before is served.",
    ),
    # Of bundles that a request names: a service whose own cannot be used does not start.
    core.BundleError: Kind(422, "Bundle not usable", _BUNDLE_HELP),
    core.UnsupportedSchemaError: Kind(
        422, "Bundle of another version", "Use a bundle that this version of Isoglot can read."
    ),
    core.BundleIntegrityError: Kind(422, "Bundle damaged", _BUNDLE_HELP),
    core.CalibratorMismatchError: Kind(
        422,
        "Calibrator belongs to another encoder",
        "Fit the calibrator again, with `isoglot-train calibrate`, for the encoder of the bundle.",
    ),
    core.CalibrationError: Kind(422, "Calibrator not usable", _BUNDLE_HELP),
    core.AccessError: Kind(403, "Access denied", "The request may not do what it asks."),
    core.UnauthenticatedError: Kind(
        401,
        "Not authenticated",
        "Send a valid API key: `Authorization: Bearer KEY`, or `X-API-Key: KEY`. "
        "`isoglot keys create` makes one.",
    ),
    core.MissingScopeError: Kind(
        403,
        "Not allowed",
        "The API key is valid but lacks the scope that the detail names. Use another key.",
    ),
    core.RateLimitedError: Kind(
        429,
        "Too many requests",
        "The API key has used up its requests for the moment. Wait `Retry-After` seconds; "
        "`RateLimit` in every response says how many are left.",
    ),
    core.OverloadedError: Kind(
        429,
        "Overloaded",
        "More is asked than the service can answer in time, so that it refuses some rather than "
        "let all wait. Nothing was done: wait `Retry-After` seconds and send the request again.",
    ),
    core.KeyFileError: Kind(
        503, "Key file not usable", "Mend the key file, or make it anew with `isoglot keys`."
    ),
    core.EncodingError: Kind(500, "Encoder failed", "The encoder failed. Report the request id."),
    core.UnencodableTextError: Kind(
        422,
        "Text cannot be encoded",
        "The encoder knows no token of the text, for example because it is written in a script "
        "that the bundle was not trained for. Send other words.",
    ),
    core.StoreError: Kind(500, "Store failed", "The passage store failed. Report the request id."),
    core.StoreLockedError: Kind(
        503,
        "Store in use",
        "Another process has the data directory open. Stop it, or use another ISOGLOT_DATA_DIR.",
    ),
    core.StorageFullError: Kind(
        507,
        "Disk full",
        "The disk that passages are stored on has less free than ISOGLOT_DISK_RESERVE_MIB, so that "
        "nothing is added to it. Searches and deletions go on. Make room, and send it again.",
    ),
    core.StoreUnavailableError: Kind(
        503, "Store unavailable", "The store is closed or rebuilding. Try again later."
    ),
}
"""Every error of the core; a class without a row of its own is treated as its parent."""

API_KINDS: Mapping[str, Kind] = {
    "malformed_json": Kind(400, "Malformed JSON", "The body is not JSON as RFC 8259 defines it."),
    "invalid_request": Kind(
        422,
        "Invalid request",
        "The body is JSON, but not what this operation takes; `errors` points to every problem. "
        "/openapi.json describes what it takes.",
    ),
    "batch_too_large": Kind(
        413,
        "Too many passages",
        "Send fewer passages a request, or stream them as application/x-ndjson.",
    ),
    "body_too_large": Kind(
        413,
        "Body too large",
        "Send smaller requests, or stream passages as application/x-ndjson.",
    ),
    "body_timeout": Kind(
        408,
        "Body too slow",
        "The next part of the body did not arrive in time. Send it without long pauses.",
    ),
    "unsupported_media_type": Kind(
        415, "Unsupported media type", "Name the media type of the body in Content-Type."
    ),
    "not_found": Kind(404, "Not found", "There is nothing at this path."),
    "method_not_allowed": Kind(
        405, "Method not allowed", "The path exists, but not with this method; see `Allow`."
    ),
    "bad_request": Kind(400, "Bad request", "The request cannot be understood."),
    "not_ready": Kind(
        503,
        "Not ready",
        "The service is starting, could not start, or cannot answer at present; the detail says "
        "which.",
    ),
    "internal_error": Kind(500, "Internal error", "The service failed. Report the request id."),
}
"""Errors that only a web service has, by code."""

KINDS: Mapping[str, Kind] = {
    **{cls.code: kind for cls, kind in CORE_KINDS.items()},
    **API_KINDS,
}
"""Every kind of problem by its code."""


def code_of(error: core.IsoglotError) -> str:
    """Return the code of an error, or of its nearest ancestor that is in the table."""
    classes = type(error).__mro__
    return next(
        cls.code for cls in classes if issubclass(cls, core.IsoglotError) and cls in CORE_KINDS
    )
