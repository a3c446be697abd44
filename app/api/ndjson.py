"""Uploads line by line: lines are read, stored in pieces and answered while more arrive.

Memory is bounded: one piece of lines, and answers that the client has not fetched yet go to a
temporary file once they are many. Reading never waits for the client to fetch answers, because
most clients send everything before they read anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Literal

import structlog
from fastapi import Request, Response
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.api.convert import to_entry
from app.api.errors import summary, validation_items
from app.api.gzip_body import MalformedGzipError, unpacked
from app.api.ndjson_lines import MAX_LINE_BYTES, Line, pieces, split_lines
from app.api.schemas.common import Closing, LineAnswer, LineError, PassageIn, Summary
from app.api.strict_json import NDJSON_MEDIA_TYPE, MalformedJsonError, parse_json
from app.core.errors import InvalidInputError, IsoglotError
from app.core.passages.entries import Entry, Rejected, Stored
from app.core.passages.ingest import IngestService
from app.core.pauses import Pauses
from app.telemetry.metrics import Metrics

_SPOOL_BYTES = 1 << 20
_READ_BYTES = 1 << 16

OnError = Literal["continue", "abort"]

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """How an upload is to be treated.

    Attributes:
        on_error: Whether a rejected line ends the upload.
        wait: Whether a line is answered only once it survives loss of power.
        is_gzip: Whether the body is compressed.
    """

    on_error: OnError = "continue"
    wait: bool = True
    is_gzip: bool = False


class NdjsonUpload(Response):
    """Answers an NDJSON upload with NDJSON: a line for every line, then a summary.

    Args:
        request: Its body is the upload.
        ingest: Where passages go.
        metrics: Counts what was stored and rejected.
        options: How to treat the upload.
    """

    media_type = NDJSON_MEDIA_TYPE

    def __init__(
        self, request: Request, ingest: IngestService, metrics: Metrics, options: UploadOptions
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._request = request
        self._ingest = ingest
        self._metrics = metrics
        self._options = options

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
            await self._answer_all(total, answers)
        except ClientDisconnect:
            _log.warning("upload_interrupted", stored=total.stored)
            total.aborted = LineError(code="disconnected", detail="The connection was lost.")
        except MalformedGzipError as error:
            total.aborted = LineError(code="malformed_gzip", detail=str(error))
        except IsoglotError as error:
            _log.error("upload_failed", code=error.code, exc_info=error)
            total.aborted = LineError(code=error.code, detail=str(error))
        except Exception:  # noqa: BLE001  the status is sent: the summary must tell
            _log.exception("upload_failed")
            total.aborted = LineError(code="internal_error", detail="The service failed.")
        finally:
            closing = Closing(summary=total).model_dump_json(exclude_none=True)
            answers.write(closing.encode() + b"\n")
            answers.finish()

    async def _answer_all(self, total: Summary, answers: _AnswerPipe) -> None:
        stream = self._request.stream()
        lines = split_lines(unpacked(stream) if self._options.is_gzip else stream)
        async for piece in pieces(lines):
            pauses = Pauses()
            for answer in await self._answer(piece):
                await pauses.due()
                _count(total, answer)
                answers.write(answer.model_dump_json(exclude_none=True).encode() + b"\n")
            if total.rejected and self._options.on_error == "abort":
                total.aborted = LineError(
                    code="line_rejected",
                    detail="A line was rejected, and on_error=abort ends the upload there. The "
                    "lines before it are stored; nothing after it was.",
                )
                return

    async def _answer(self, piece: Sequence[Line]) -> list[LineAnswer]:
        judged: list[tuple[Line, Entry | LineAnswer]] = []
        pauses = Pauses()
        for line in piece:
            await pauses.due()
            judged.append((line, self._parse(line)))
            if isinstance(judged[-1][1], LineAnswer) and self._options.on_error == "abort":
                break
        good = [(line, found) for line, found in judged if not isinstance(found, LineAnswer)]
        bad = [found for _, found in judged if isinstance(found, LineAnswer)]
        stored = await self._store(good)
        if self._options.on_error == "abort" and any(a.status == "rejected" for a in stored):
            bad = []  # The upload has ended before that line.
        answers = sorted(bad + stored, key=lambda answer: answer.line)
        rejected = sum(answer.status == "rejected" for answer in answers)
        self._metrics.store.uploaded(stored=len(answers) - rejected, rejected=rejected)
        return answers

    async def _store(self, good: Sequence[tuple[Line, Entry]]) -> list[LineAnswer]:
        outcomes = await self._ingest.add_each(
            [entry for _, entry in good],
            durable=self._options.wait,
            stop_at_rejection=self._options.on_error == "abort",
        )
        # With on_error=abort there may be fewer outcomes than lines.
        return [_answer(line, outcome) for (line, _), outcome in zip(good, outcomes, strict=False)]

    def _parse(self, line: Line) -> Entry | LineAnswer:
        if line.raw is None:
            return _rejected(
                line,
                "line_too_long",
                f"The line is longer than {MAX_LINE_BYTES} bytes; split the text.",
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
            return self._ingest.check(to_entry(PassageIn.model_validate(raw)))
        except ValidationError as error:
            items = validation_items(error.errors(include_input=False))
            return _rejected(line, "invalid_request", summary(items), stated_id)
        except InvalidInputError as error:
            return _rejected(line, error.code, str(error), stated_id)


def _answer(line: Line, outcome: Stored | Rejected) -> LineAnswer:
    if isinstance(outcome, Rejected):
        return _rejected(line, outcome.error.code, str(outcome.error), outcome.id)
    return LineAnswer(
        line=line.number,
        id=outcome.id,
        status=outcome.status,
        language=outcome.language,
        passages=outcome.pieces,
    )


def _rejected(line: Line, code: str, detail: str, passage_id: str | None = None) -> LineAnswer:
    return LineAnswer(
        line=line.number,
        id=passage_id,
        status="rejected",
        error=LineError(code=code, detail=detail),
    )


def _count(total: Summary, answer: LineAnswer) -> None:
    total.received += 1
    setattr(total, answer.status, getattr(total, answer.status) + 1)


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
