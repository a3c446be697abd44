"""Uploads line by line: lines are read, stored in pieces and answered while more arrive.

Memory is bounded: one piece of lines, and answers that the client has not fetched yet go to a
temporary file once they are many. Reading never waits for the client to fetch answers, because
most clients send everything before they read anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile

import structlog
from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.api.convert import to_passage
from app.api.errors import summary, validation_items
from app.api.schemas import PassageIn
from app.api.strict_json import NDJSON_MEDIA_TYPE, MalformedJsonError, parse_json
from app.core.errors import InvalidInputError, IsoglotError
from app.core.ingest import IngestService, checked
from app.core.types import Passage
from app.telemetry import Metrics

LINES_A_PIECE = 256
"""Lines that are encoded and stored together."""

MAX_LINE_BYTES = 1 << 20
"""Longest line in bytes: a passage of the greatest length, escaped, with metadata."""

_SPOOL_BYTES = 1 << 20
_READ_BYTES = 1 << 16

_log = structlog.stdlib.get_logger(__name__)


class LineError(BaseModel):
    """Why a line was rejected."""

    code: str
    detail: str


class LineAnswer(BaseModel):
    """What became of one line.

    Attributes:
        line: Number of the line, from 1.
        id: Id of the passage, null where the line does not tell.
        status: ``stored`` or ``rejected``.
        error: Why it was rejected.
    """

    line: int
    id: str | None
    status: str
    error: LineError | None = None


class Summary(BaseModel):
    """The last line of an answer; without it the answer is not complete.

    Attributes:
        received: Lines that are not blank.
        stored: Lines that were stored.
        rejected: Lines that were not.
        aborted: Why the upload ended before its last line, where it did.
    """

    received: int = 0
    stored: int = 0
    rejected: int = 0
    aborted: LineError | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an upload; ``raw`` is ``None`` where it is longer than ``MAX_LINE_BYTES``."""

    number: int
    raw: bytes | None

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing but white space."""
        return self.raw is not None and not self.raw.strip()


class NdjsonUpload(Response):
    """Answers an NDJSON upload with NDJSON: a line for every line, then a summary.

    Args:
        request: Its body is the upload.
        ingest: Where passages go.
        metrics: Counts what was stored and rejected.
    """

    media_type = NDJSON_MEDIA_TYPE

    def __init__(self, request: Request, ingest: IngestService, metrics: Metrics) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._request = request
        self._ingest = ingest
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, store and answer."""
        answers = _AnswerPipe()
        reader = asyncio.create_task(self._read(answers))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while block := await answers.read():
                await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            answers.close()

    async def _read(self, answers: _AnswerPipe) -> None:
        total = Summary()
        try:
            async for piece in _pieces(split_lines(self._request.stream())):
                for answer in await self._answer(piece):
                    _count(total, answer)
                    answers.write(answer.model_dump_json(exclude_none=True).encode() + b"\n")
        except ClientDisconnect:
            _log.warning("upload_interrupted", stored=total.stored)
            total.aborted = LineError(code="disconnected", detail="The connection was lost.")
        except IsoglotError as error:
            _log.error("upload_failed", code=error.code, exc_info=error)
            total.aborted = LineError(code=error.code, detail=str(error))
        except Exception:  # noqa: BLE001  the status is sent: the summary must tell
            _log.exception("upload_failed")
            total.aborted = LineError(code="internal_error", detail="The service failed.")
        finally:
            closing = total.model_dump_json(exclude_none=True)
            answers.write(b'{"summary":' + closing.encode() + b"}\n")
            answers.finish()

    async def _answer(self, piece: Sequence[Line]) -> list[LineAnswer]:
        judged = [(line, _parse(line)) for line in piece]
        good = [(line, found) for line, found in judged if isinstance(found, Passage)]
        bad = [found for _, found in judged if isinstance(found, LineAnswer)]
        answers = sorted(bad + await self._store(good), key=lambda answer: answer.line)
        stored = sum(answer.status == "stored" for answer in answers)
        self._metrics.passages_answered(stored=stored, rejected=len(answers) - stored)
        return answers

    async def _store(self, passages: list[tuple[Line, Passage]]) -> list[LineAnswer]:
        """Store all; where one of them cannot be, find it by halving, so the others are kept."""
        try:
            await self._ingest.add([passage for _, passage in passages])
        except InvalidInputError as error:
            if len(passages) == 1:
                line, passage = passages[0]
                return [_rejected(line, error.code, str(error), passage.id)]
            middle = len(passages) // 2
            return await self._store(passages[:middle]) + await self._store(passages[middle:])
        return [
            LineAnswer(line=line.number, id=passage.id, status="stored")
            for line, passage in passages
        ]


async def split_lines(
    stream: AsyncIterator[bytes], max_line_bytes: int = MAX_LINE_BYTES
) -> AsyncIterator[Line]:
    """Yield the lines of a stream that are not blank; holds at most one line and one block."""
    number = 1
    rest = b""
    too_long = False
    async for block in stream:
        *complete, rest = (rest + block).split(b"\n")
        for raw in complete:
            line = Line(number, None if too_long or len(raw) > max_line_bytes else raw)
            if not line.is_blank:
                yield line
            number += 1
            too_long = False
        if too_long or len(rest) > max_line_bytes:
            too_long, rest = True, b""
    last = Line(number, None if too_long else rest)
    if not last.is_blank:
        yield last


async def _pieces(lines: AsyncIterator[Line]) -> AsyncIterator[list[Line]]:
    piece: list[Line] = []
    async for line in lines:
        piece.append(line)
        if len(piece) == LINES_A_PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


def _parse(line: Line) -> Passage | LineAnswer:
    if line.raw is None:
        return _rejected(
            line, "line_too_long", f"The line is longer than {MAX_LINE_BYTES} bytes; split the text"
        )
    try:
        raw = parse_json(line.raw)
    except MalformedJsonError as error:
        return _rejected(line, "malformed_json", f"The line is not JSON: {error}.")
    if not isinstance(raw, dict):
        return _rejected(line, "invalid_request", "The line is not a JSON object.")
    member = raw.get("id")
    stated_id = member if isinstance(member, str) else None
    try:
        return checked(to_passage(PassageIn.model_validate(raw)))
    except ValidationError as error:
        items = validation_items(error.errors(include_input=False))
        return _rejected(line, "invalid_request", summary(items), stated_id)
    except InvalidInputError as error:
        return _rejected(line, error.code, str(error), stated_id)


def _rejected(line: Line, code: str, detail: str, passage_id: str | None = None) -> LineAnswer:
    return LineAnswer(
        line=line.number,
        id=passage_id,
        status="rejected",
        error=LineError(code=code, detail=detail),
    )


def _count(total: Summary, answer: LineAnswer) -> None:
    total.received += 1
    if answer.status == "stored":
        total.stored += 1
    else:
        total.rejected += 1


class _AnswerPipe:
    """Bytes on their way from one task to another, on disk where they are many."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115  closed by close
        self._written = 0
        self._taken = 0
        self._finished = False
        self._changed = asyncio.Event()

    def write(self, block: bytes) -> None:
        self._file.seek(self._written)
        self._file.write(block)
        self._written += len(block)
        self._changed.set()

    def finish(self) -> None:
        self._finished = True
        self._changed.set()

    async def read(self) -> bytes:
        """Return the next bytes, none at the end."""
        while self._taken == self._written and not self._finished:
            self._changed.clear()
            await self._changed.wait()
        self._file.seek(self._taken)
        block = self._file.read(_READ_BYTES)
        self._taken += len(block)
        return block

    def close(self) -> None:
        self._file.close()
