"""Python client of the service: ``Isoglot`` and ``AsyncIsoglot``.

It needs httpx and pydantic, and nothing of the rest of this package.
"""

from app.client.async_client import AsyncIsoglot, AsyncPassages
from app.client.calls import Judgement, LanguageOptions, Passage, Search, SearchOptions, Split
from app.client.errors import (
    AuthenticationError,
    ConflictError,
    ConnectionFailedError,
    IncompleteAnswerError,
    InvalidRequestError,
    IsoglotClientError,
    NotAllowedError,
    NotFoundError,
    RateLimitedError,
    ServiceError,
    UnavailableError,
)
from app.client.results import (
    BatchItem,
    FeedbackReceipt,
    Health,
    Hit,
    Line,
    SearchResult,
    StoredPassage,
    UploadReport,
)
from app.client.retries import Retries
from app.client.sync_client import Isoglot, Passages

__all__ = [
    "AsyncIsoglot",
    "AsyncPassages",
    "AuthenticationError",
    "BatchItem",
    "ConflictError",
    "ConnectionFailedError",
    "FeedbackReceipt",
    "Health",
    "Hit",
    "IncompleteAnswerError",
    "InvalidRequestError",
    "Isoglot",
    "IsoglotClientError",
    "Judgement",
    "LanguageOptions",
    "Line",
    "NotAllowedError",
    "NotFoundError",
    "Passage",
    "Passages",
    "RateLimitedError",
    "Retries",
    "Search",
    "SearchOptions",
    "SearchResult",
    "ServiceError",
    "Split",
    "StoredPassage",
    "UnavailableError",
    "UploadReport",
]
