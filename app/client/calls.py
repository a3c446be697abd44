"""Every call as data: what is sent, and how the answer is read. Sends nothing itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, RootModel, ValidationError

from app.client.errors import IncompleteAnswerError, ServiceError
from app.client.results import (
    Batch,
    BatchItem,
    FeedbackBatch,
    FeedbackReceipt,
    Health,
    Line,
    ReadyBody,
    SearchResult,
    StoredPassage,
    UploadReport,
)

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT = 60.0
"""Seconds without a sign of life after which a request is given up."""

LINES_A_REQUEST = 1000
"""Passages that are uploaded together; a request that fails is repeated as a whole."""

Result = TypeVar("Result")
M = TypeVar("M", bound=BaseModel)
_ANY_OBJECT = RootModel[dict[str, Any]]


class LanguageOptions(TypedDict, total=False):
    """Which languages are asked in and about; see ``POST /v1/search``."""

    query: str | None
    candidates: Sequence[str] | None
    passages: Sequence[str] | None
    mode: Literal["any", "prefer", "balance"]
    prefer: Mapping[str, float] | None


class SearchOptions(TypedDict, total=False):
    """Members of a search but the query; see ``POST /v1/search``."""

    limit: int
    offset: int
    cursor: str | None
    candidates: int
    retrieval: Literal["dense", "hybrid"]
    filter: Mapping[str, Any] | None
    language: LanguageOptions
    min_probability: float | None
    target_precision: float | None
    rank_by: Literal["probability", "score"]
    include: Sequence[Literal["text", "metadata", "highlights"]]
    explain: Literal["none", "basic", "full"]
    diagnostics: Sequence[Literal["language", "calibration", "timing"]]
    timeout_ms: int | None
    on_timeout: Literal["error", "degraded"]


class Search(SearchOptions):
    """One search of a batch."""

    query: str


class Split(TypedDict, total=False):
    """How to split a long text; give exactly one of the sizes."""

    max_characters: int | None
    max_tokens: int | None
    overlap: int


class Passage(TypedDict):
    """A passage to store; see ``POST /v1/passages``."""

    id: str
    text: str
    language: NotRequired[str | None]
    parallel_id: NotRequired[str | None]
    metadata: NotRequired[Mapping[str, Any]]
    document_id: NotRequired[str | None]
    span: NotRequired[Sequence[int] | None]
    split: NotRequired[Split | None]


Source = Literal["explicit", "judged", "click"]


class Judgement(TypedDict):
    """What is said of a hit in a batch; see ``POST /v1/feedback``."""

    token: str
    relevant: NotRequired[bool | None]
    source: NotRequired[Source]


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One request.

    Attributes:
        method: HTTP method.
        path: Path below the address of the service.
        read: Reads a successful answer.
        content: Body, empty for none.
        media_type: Of the body.
        accepted: Statuses beside 2xx that ``read`` understands.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], Result]
    content: bytes = b""
    media_type: str = "application/json"
    accepted: frozenset[int] = field(default=frozenset())

    def understands(self, answer: httpx.Response) -> bool:
        """Return whether ``read`` can read an answer."""
        return answer.is_success or answer.status_code in self.accepted

    def request(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Return the request as a client sends it."""
        headers = {"Content-Type": self.media_type} if self.content else {}
        return client.build_request(
            self.method, self.path, content=self.content or None, headers=headers
        )


def headers(api_key: str | None) -> dict[str, str]:
    """Return the headers of every request."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def search(query: str, options: SearchOptions) -> Call[SearchResult]:
    """Search."""
    body = _json({"query": query, **options})
    return Call("POST", "/v1/search", lambda answer: _read(SearchResult, answer), body)


def search_batch(searches: Iterable[str | Search]) -> Call[tuple[BatchItem, ...]]:
    """Search for several things at once."""
    asked = [{"query": one} if isinstance(one, str) else one for one in searches]
    return Call(
        "POST",
        "/v1/search:batch",
        lambda answer: _read(Batch, answer).results,
        _json({"searches": asked}),
    )


def feedback(token: str, *, relevant: bool | None, source: Source) -> Call[FeedbackReceipt]:
    """Say whether a hit is relevant."""
    body: Judgement = {"token": token, "source": source}
    if relevant is not None:
        body["relevant"] = relevant
    return _feedback(body)


def withdraw_feedback(token: str, *, source: Source) -> Call[FeedbackReceipt]:
    """Take a label back."""
    return _feedback({"token": token, "source": source, "relevant": None})


def _feedback(body: Judgement) -> Call[FeedbackReceipt]:
    return Call("POST", "/v1/feedback", lambda answer: _read(FeedbackReceipt, answer), _json(body))


def feedback_batch(judgements: Iterable[Judgement]) -> Call[tuple[FeedbackReceipt, ...]]:
    """Say of several hits whether they are relevant."""
    return Call(
        "POST",
        "/v1/feedback:batch",
        lambda answer: _read(FeedbackBatch, answer).results,
        _json({"feedback": list(judgements)}),
    )


def get(passage_id: str) -> Call[StoredPassage]:
    """Return a passage."""
    return Call("GET", _path(passage_id), lambda answer: _read(StoredPassage, answer))


def delete(passage_id: str) -> Call[None]:
    """Delete a passage."""
    return Call("DELETE", _path(passage_id), lambda _: None)


def calibration_document(retrieval: Literal["dense", "hybrid"]) -> Call[dict[str, Any]]:
    """Return the document of the calibrator of one kind of retrieval."""
    return Call("GET", f"/v1/calibration/document?retrieval={retrieval}", _document)


def health() -> Call[Health]:
    """Ask whether the service is ready."""
    return Call("GET", "/health/ready", _health, accepted=frozenset({503}))


def upload(passages: Sequence[Passage], *, first: int) -> Call[list[Line]]:
    """Upload passages; the first one is counted as number ``first``."""
    return Call(
        "POST",
        "/v1/passages",
        lambda answer: _lines(answer, first),
        b"".join(_json(passage) + b"\n" for passage in passages),
        "application/x-ndjson",
    )


def pieces(passages: Iterable[Passage]) -> Iterator[tuple[int, list[Passage]]]:
    """Yield passages in pieces of ``LINES_A_REQUEST``, each with the number of its first."""
    rest = iter(passages)
    first = 1
    while piece := list(islice(rest, LINES_A_REQUEST)):
        yield first, piece
        first += len(piece)


class Tally:
    """Counts the lines of an upload; keeps only those that were rejected."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._rejected: list[Line] = []

    def add(self, lines: Iterable[Line]) -> None:
        """Count lines."""
        for line in lines:
            self._counts[line.status] += 1
            if not line.is_stored:
                self._rejected.append(line)

    def report(self) -> UploadReport:
        """Return what was counted."""
        return UploadReport(
            received=self._counts.total(),
            created=self._counts["created"],
            updated=self._counts["updated"],
            unchanged=self._counts["unchanged"],
            rejected=tuple(self._rejected),
        )


def _path(passage_id: str) -> str:
    return f"/v1/passages/{quote(passage_id, safe='')}"


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain).encode()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON: {value!r:.80}")


def _read(model: type[M], answer: httpx.Response) -> M:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise IncompleteAnswerError(
            f"{answer.request.url} does not answer as this version of the client expects: {error}"
        ) from error


def _document(answer: httpx.Response) -> dict[str, Any]:
    return dict(_read(_ANY_OBJECT, answer).root)


def _health(answer: httpx.Response) -> Health:
    if answer.status_code != httpx.codes.OK:
        return Health(is_ready=False, detail=ServiceError(answer).detail)
    return _read(ReadyBody, answer).health()


def _lines(answer: httpx.Response, first: int) -> list[Line]:
    """Read the answer to an upload; without its summary it was cut off."""
    rows = [json.loads(row) for row in answer.text.splitlines() if row.strip()]
    if not rows or "summary" not in rows[-1]:
        raise IncompleteAnswerError("The answer to the upload was cut off. Send it again.")
    aborted = rows[-1]["summary"].get("aborted")
    if aborted:
        raise IncompleteAnswerError(f"The upload ended early: {aborted['detail']}")
    lines = [Line.model_validate(row) for row in rows[:-1]]
    return [line.model_copy(update={"line": line.line + first - 1}) for line in lines]
