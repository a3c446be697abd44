"""Every error the product raises on purpose.

The tree::

    IsoglotError
    ├── InvalidInputError            something a caller sent cannot be used
    │   ├── InvalidQueryError        the query text itself
    │   ├── UnencodableTextError     a text of which the encoder knows no token
    │   ├── MalformedFilterError     a filter that means nothing
    │   ├── InvalidCursorError       a cursor that belongs to no answer, or to another one
    │   ├── WordsNotIndexedError     a search by words where none are indexed
    │   ├── InvalidPassageError      one passage of an upsert
    │   └── FeedbackRejectedError    the token of feedback is not accepted
    ├── CursorExpiredError           an answer is not kept any more
    ├── DeadlineExceededError        the time that a caller gave was not enough
    ├── PassageNotFoundError         no passage with that id
    ├── CountMismatchError           a filter selects another number of passages than expected
    ├── ReindexingError              passages cannot be embedded anew
    ├── BackupError                  a backup cannot be written, or not be restored
    ├── EncoderMismatchError         collection and bundle belong to different encoders
    ├── BundleError                  a bundle directory cannot be used
    │   ├── UnsupportedSchemaError   written by another version of the format
    │   ├── BundleIntegrityError     a file is missing, extra or changed
    │   └── CalibratorMismatchError  the calibrator was fitted for another encoder
    ├── CalibrationError             a calibrator document is malformed or unsafe
    ├── AccessError                  a request may not do what it asks
    │   ├── UnauthenticatedError     it shows no API key, or none that is valid
    │   ├── MissingScopeError        its key does not allow this
    │   └── RateLimitedError         its key allows no more for the moment
    ├── KeyFileError                 a key file cannot be used
    ├── FeedbackLogError             the feedback log, or its key, cannot be read or written
    ├── OverloadedError              more is asked than can be answered in time
    ├── CalibratorShelfError         the calibrators beside the bundle cannot be read or changed so
    ├── EncodingError                the encoder failed
    └── StoreError                   the passage store failed
        ├── StoreLockedError         another process has the directory open
        ├── StorageFullError         there is too little room on its disk
        └── StoreUnavailableError    the store is closed, rebuilding or unreachable

Errors carry data, never an HTTP status: the status is a table in
``app/api/problem_kinds.py``.
``code`` is stable and part of the public API.
"""

from __future__ import annotations

from typing import ClassVar, Literal


class IsoglotError(Exception):
    """Base of all errors of this product; ``str(error)`` is fit to show to a user."""

    code: ClassVar[str] = "internal_error"


class InvalidInputError(IsoglotError):
    """Something a caller sent cannot be used.

    Args:
        detail: What was wrong and what to do about it.
        pointer: JSON pointer to the offending member, for example ``/query``.
    """

    code: ClassVar[str] = "invalid_input"

    def __init__(self, detail: str, *, pointer: str = "") -> None:
        super().__init__(detail)
        self.pointer = pointer


class InvalidQueryError(InvalidInputError):
    """The query text is empty, too long or not text."""

    code: ClassVar[str] = "invalid_query"


class UnencodableTextError(InvalidInputError):
    """The encoder knows no token of a text, so it has no vector."""

    code: ClassVar[str] = "unencodable_text"


class MalformedFilterError(InvalidInputError):
    """A filter breaks the grammar, or asks for a field that is not declared."""

    code: ClassVar[str] = "malformed_filter"


class InvalidCursorError(InvalidInputError):
    """A cursor that this service has not given out, or that belongs to another search."""

    code: ClassVar[str] = "invalid_cursor"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, pointer="/cursor")


class WordsNotIndexedError(InvalidInputError):
    """A search by words was asked of a collection whose words are not indexed.

    Args:
        pointer: As in ``InvalidInputError``.
    """

    code: ClassVar[str] = "words_not_indexed"

    def __init__(self, *, pointer: str = "/retrieval") -> None:
        super().__init__(
            "The words of this collection are not indexed, so that it is searched by vector "
            "only. Start the service with ISOGLOT_HYBRID=true: it indexes the words of what is "
            "stored, and of what is added from then on. Or leave retrieval out.",
            pointer=pointer,
        )


class InvalidPassageError(InvalidInputError):
    """One passage cannot be stored; nothing of it was written."""

    code: ClassVar[str] = "invalid_passage"


class FeedbackRejectedError(InvalidInputError):
    """The token of feedback is not accepted; nothing was kept.

    Args:
        reason: ``forged``, ``expired`` or ``unknown``.
    """

    code: ClassVar[str] = "feedback_rejected"

    def __init__(self, reason: Literal["forged", "expired", "unknown"]) -> None:
        details = {
            "forged": "This service has not signed it, or it was changed on its way. Send "
            "`feedback_token` of a hit as it is.",
            "expired": "It is too old. Search again, and judge what is found now.",
            "unknown": "Its hit was shown to another tenant. Send it with a key of that tenant.",
        }
        super().__init__(
            f"The token is not accepted ({reason}). {details[reason]}", pointer="/token"
        )
        self.reason = reason


class CursorExpiredError(IsoglotError):
    """The answer that a cursor continues is not kept any more."""

    code: ClassVar[str] = "cursor_expired"


class DeadlineExceededError(IsoglotError):
    """A search was not done in the time that its caller gave.

    Args:
        timeout_ms: That time.
        stage: What was going on when it passed.
    """

    code: ClassVar[str] = "deadline_exceeded"

    def __init__(self, *, timeout_ms: int, stage: str) -> None:
        super().__init__(
            f"The {timeout_ms} ms of timeout_ms passed during the stage {stage!r}. Give more "
            "time, or ask for on_timeout 'degraded'."
        )
        self.timeout_ms = timeout_ms
        self.stage = stage


class PassageNotFoundError(IsoglotError):
    """No passage with that id is stored."""

    code: ClassVar[str] = "passage_not_found"

    def __init__(self, passage_id: str) -> None:
        super().__init__(f"No passage with id {passage_id!r} is stored.")
        self.passage_id = passage_id


class CountMismatchError(IsoglotError):
    """A filter selects another number of passages than the caller expected; nothing was done."""

    code: ClassVar[str] = "count_mismatch"

    def __init__(self, *, expected: int, found: int) -> None:
        super().__init__(
            f"The filter selects {found} passages, not {expected} as expected. Nothing was "
            "deleted. Look at what it selects, and send the right number."
        )
        self.expected = expected
        self.found = found


class EncoderMismatchError(IsoglotError):
    """A collection was indexed with another encoder than the one that is loaded."""

    code: ClassVar[str] = "encoder_mismatch"

    def __init__(self, *, collection: str, indexed_with: str, loaded: str) -> None:
        super().__init__(
            f"Collection {collection!r} was indexed with encoder {indexed_with}, but the loaded "
            f"bundle carries encoder {loaded}. Load the matching bundle, or embed the stored "
            "passages with this one: `isoglot reindex`."
        )
        self.collection = collection
        self.indexed_with = indexed_with
        self.loaded = loaded


class ReindexingError(IsoglotError):
    """Passages cannot be embedded anew, or the result may not be served."""

    code: ClassVar[str] = "reindexing_error"


class BackupError(IsoglotError):
    """A backup cannot be written, or not be restored, or was restored by half."""

    code: ClassVar[str] = "backup_error"


class BundleError(IsoglotError):
    """A bundle directory cannot be used."""

    code: ClassVar[str] = "bundle_error"


class UnsupportedSchemaError(BundleError):
    """A document was written by another version of the bundle format."""

    code: ClassVar[str] = "unsupported_schema"


class BundleIntegrityError(BundleError):
    """A file of the bundle is missing, was added, or was changed after it was written."""

    code: ClassVar[str] = "bundle_integrity"


class CalibratorMismatchError(BundleError):
    """The calibrator was fitted for another encoder than the one in the bundle."""

    code: ClassVar[str] = "calibrator_mismatch"


class CalibrationError(IsoglotError):
    """A calibrator document is malformed, or would break a law of probabilities."""

    code: ClassVar[str] = "calibration_error"


class AccessError(IsoglotError):
    """A request may not do what it asks."""

    code: ClassVar[str] = "access_denied"


class UnauthenticatedError(AccessError):
    """A request shows no API key, or none that is valid."""

    code: ClassVar[str] = "unauthenticated"


class MissingScopeError(AccessError):
    """The key of a request does not allow what it asks.

    Args:
        scope: What would have to be allowed.
        key_id: Public part of the key.
    """

    code: ClassVar[str] = "missing_scope"

    def __init__(self, scope: str, *, key_id: str) -> None:
        super().__init__(
            f"This needs the scope {scope!r}, which the API key {key_id} does not have. Use "
            "another key, or ask for one."
        )
        self.scope = scope
        self.key_id = key_id


class RateLimitedError(AccessError):
    """The key of a request allows no more requests for the moment.

    Args:
        retry_after: Seconds to wait, at least 1.
    """

    code: ClassVar[str] = "rate_limited"

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            f"The API key has used up its requests. Try again in {retry_after} seconds."
        )
        self.retry_after = retry_after


class OverloadedError(IsoglotError):
    """More is asked than can be answered in time; nothing has been done.

    Args:
        what: What there is too much for, to complete "Too much waits for ...".
        retry_after: Seconds to wait, at least 1.
    """

    code: ClassVar[str] = "overloaded"

    def __init__(self, what: str, *, retry_after: int = 1) -> None:
        super().__init__(
            f"Too much waits for {what}. Try again in {retry_after} seconds, and send less at once."
        )
        self.retry_after = retry_after


class KeyFileError(IsoglotError):
    """A key file cannot be read, or what it says cannot be used."""

    code: ClassVar[str] = "key_file_error"


class FeedbackLogError(IsoglotError):
    """The feedback log, or the key that its tokens are signed with, cannot be read or written."""

    code: ClassVar[str] = "feedback_log_error"


class CalibratorShelfError(IsoglotError):
    """The calibrators beside that of the bundle cannot be read, or not be changed like that."""

    code: ClassVar[str] = "calibrator_shelf_error"


class EncodingError(IsoglotError):
    """The encoder failed: its runtime raised, or what it returned is no set of unit vectors."""

    code: ClassVar[str] = "encoding_error"


class StoreError(IsoglotError):
    """The passage store failed."""

    code: ClassVar[str] = "store_error"


class StoreLockedError(StoreError):
    """Another process has the storage directory open."""

    code: ClassVar[str] = "store_locked"


class StorageFullError(StoreError):
    """There is too little room on the disk for what was to be written.

    Args:
        place: The directory.
        free: Bytes that are free.
        needed: Bytes that have to be.
    """

    code: ClassVar[str] = "storage_full"

    def __init__(self, place: str, *, free: int, needed: int) -> None:
        super().__init__(
            f"Of the disk of {place} {free >> 20} MiB are free, and {needed >> 20} MiB have to be. "
            "Make room: remove what is not needed there, or delete passages. Searches and "
            "deletions go on."
        )
        self.free = free
        self.needed = needed


class StoreUnavailableError(StoreError):
    """The store is closed, rebuilding or unreachable; trying again later may help."""

    code: ClassVar[str] = "store_unavailable"
