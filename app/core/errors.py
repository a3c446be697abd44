"""Every error the product raises on purpose.

The tree::

    IsoglotError
    ├── InvalidInputError            something a caller sent cannot be used
    │   ├── InvalidQueryError        the query text itself
    │   ├── UnencodableTextError     a text of which the encoder knows no token
    │   └── InvalidPassageError      one passage of an upsert
    ├── PassageNotFoundError         no passage with that id
    ├── EncoderMismatchError         collection and bundle belong to different encoders
    ├── BundleError                  a bundle directory cannot be used
    │   ├── UnsupportedSchemaError   written by another version of the format
    │   ├── BundleIntegrityError     a file is missing, extra or changed
    │   └── CalibratorMismatchError  the calibrator was fitted for another encoder
    ├── CalibrationError             a calibrator document is malformed or unsafe
    ├── EncodingError                the encoder failed
    └── StoreError                   the passage store failed
        ├── StoreLockedError         another process has the directory open
        └── StoreUnavailableError    the store is closed, rebuilding or unreachable

Errors carry data, never an HTTP status: the status is a table in ``app/api/errors.py``.
``code`` is stable and part of the public API.
"""

from __future__ import annotations

from typing import ClassVar


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


class InvalidPassageError(InvalidInputError):
    """One passage cannot be stored; nothing of it was written."""

    code: ClassVar[str] = "invalid_passage"


class PassageNotFoundError(IsoglotError):
    """No passage with that id is stored."""

    code: ClassVar[str] = "passage_not_found"

    def __init__(self, passage_id: str) -> None:
        super().__init__(f"No passage with id {passage_id!r} is stored.")
        self.passage_id = passage_id


class EncoderMismatchError(IsoglotError):
    """A collection was indexed with another encoder than the one that is loaded."""

    code: ClassVar[str] = "encoder_mismatch"

    def __init__(self, *, collection: str, indexed_with: str, loaded: str) -> None:
        super().__init__(
            f"Collection {collection!r} was indexed with encoder {indexed_with}, but the loaded "
            f"bundle carries encoder {loaded}. Load the matching bundle, or index the passages "
            "again into an empty data directory."
        )
        self.collection = collection
        self.indexed_with = indexed_with
        self.loaded = loaded


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


class EncodingError(IsoglotError):
    """The encoder failed: its runtime raised, or what it returned is no set of unit vectors."""

    code: ClassVar[str] = "encoding_error"


class StoreError(IsoglotError):
    """The passage store failed."""

    code: ClassVar[str] = "store_error"


class StoreLockedError(StoreError):
    """Another process has the storage directory open."""

    code: ClassVar[str] = "store_locked"


class StoreUnavailableError(StoreError):
    """The store is closed, rebuilding or unreachable; trying again later may help."""

    code: ClassVar[str] = "store_unavailable"
