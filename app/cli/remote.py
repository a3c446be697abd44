"""A running service as this command line uses it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx
from pydantic import SecretStr, ValidationError

from app.api.routes.administration import BundlePlace, ReindexingOut
from app.api.schemas.answer import SearchResponse
from app.api.schemas.common import LineAnswer, PassageIn, SplitIn, Summary
from app.api.schemas.search import SearchBody
from app.api.strict_json import JSON_MEDIA_TYPE, NDJSON_MEDIA_TYPE
from app.cli.exits import CannotStartError, UsageError
from app.cli.ingest.passages_file import PassageLine, Rejection
from app.client.retries import Retries
from app.core.calibration.document import CalibratorDocument, parse_calibrator
from app.core.passages.entries import Document, Entry
from app.core.types import UNDETERMINED

_TIMEOUT_SECONDS = 120.0
_PATIENCE = Retries(attempts=8, longest=120.0)


class RemoteService:
    """Talks to one service; an async context manager, and a ``Sink``.

    Args:
        url: Base address, for example ``http://127.0.0.1:8000``.
        key: API key, where the service needs one.
        transport: How requests travel; over the network by default.
        retries: How long to wait where the key has used up its requests for now.
    """

    def __init__(
        self,
        url: str,
        *,
        key: SecretStr | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        retries: Retries = _PATIENCE,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"--url {url} must begin with http:// or https://.")
        self._url = url
        self._retries = retries
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else {},
            timeout=_TIMEOUT_SECONDS,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, traceback)

    async def search(self, body: SearchBody) -> SearchResponse:
        """Search; raises ``UsageError`` where the service refuses the request."""
        response = await self._post("/v1/search", body.model_dump_json().encode(), JSON_MEDIA_TYPE)
        try:
            return SearchResponse.model_validate_json(response.content)
        except ValidationError as error:
            raise CannotStartError(
                f"{self._url} does not answer as this version of Isoglot does: {error}"
            ) from error

    async def store(self, lines: Sequence[PassageLine]) -> list[Rejection]:
        """Store passages durably; returns those that the service rejected.

        Raises:
            CannotStartError: The service cannot be reached, or did not answer for every line.
        """
        response = await self._post(
            "/v1/passages",
            b"".join(_as_line(line.entry) for line in lines),
            NDJSON_MEDIA_TYPE,
        )
        return self._rejections(lines, response.text)

    def _rejections(self, lines: Sequence[PassageLine], text: str) -> list[Rejection]:
        *answers, closing = [json.loads(line) for line in text.splitlines()] or [{}]
        if "summary" not in closing:
            raise CannotStartError(f"The answer of {self._url} was cut off. Send the file again.")
        aborted = Summary.model_validate(closing["summary"]).aborted
        if aborted is not None:
            raise CannotStartError(f"{self._url} stopped in the middle: {aborted.detail}")
        judged = [LineAnswer.model_validate(answer) for answer in answers]
        return [
            Rejection(lines[a.line - 1].file, lines[a.line - 1].line, _reason(a))
            for a in judged
            if a.status == "rejected"
        ]

    async def calibrator(self) -> CalibratorDocument:
        """Return the calibrator that judges there now.

        Raises:
            CannotStartError: There is none, or the service cannot be reached.
            CalibrationError: It is of another version of Isoglot.
        """
        return parse_calibrator((await self._send("GET", "/v1/calibration/document")).json())

    async def is_stored(self, passage_id: str) -> bool:
        """Return whether a passage is stored there; raises as ``store``."""
        path = f"/v1/passages/{quote(passage_id, safe='')}"
        response = await self._answer("GET", path)
        if response.status_code == httpx.codes.NOT_FOUND:
            return False
        self._refuse(response)
        return True

    async def start_reindexing(self, bundle: Path) -> ReindexingOut:
        """Let the service begin to embed its passages anew; the bundle must lie there for it."""
        place = BundlePlace(directory=str(bundle)).model_dump_json().encode()
        answer = await self._post("/v1/reindex", place, JSON_MEDIA_TYPE)
        return ReindexingOut.model_validate_json(answer.content)

    async def reindexing(self) -> ReindexingOut:
        """Return how far the service is with it."""
        answer = await self._send("GET", "/v1/reindex")
        return ReindexingOut.model_validate_json(answer.content)

    async def cancel_reindexing(self) -> None:
        """Let the service stop it."""
        await self._send("DELETE", "/v1/reindex")

    async def _post(self, path: str, content: bytes, media_type: str) -> httpx.Response:
        return await self._send("POST", path, content=content, headers={"Content-Type": media_type})

    async def _send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        response = await self._answer(method, path, content=content, headers=headers)
        self._refuse(response)
        return response

    async def _answer(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Return the answer, whatever it is; waits where there were too many requests."""
        attempt = 1
        while True:
            try:
                response = await self._client.request(
                    method, path, content=content, headers=headers
                )
            except httpx.HTTPError as error:
                raise CannotStartError(
                    f"No service answers at {self._url} ({str(error) or type(error).__name__}). "
                    "Start one with `isoglot serve`."
                ) from error
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return response
            wait = self._retries.wait(response, attempt)
            if wait is None:
                return response
            await asyncio.sleep(wait)
            attempt += 1

    def _refuse(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        detail = _problem_detail(response)
        if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            raise UsageError(detail)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            detail += " Commands send the key that ISOGLOT_API_KEY holds."
        raise CannotStartError(f"{self._url} answered {response.status_code}: {detail}")


def _as_line(entry: Entry) -> bytes:
    passage = entry.passage if isinstance(entry, Document) else entry
    split = asdict(entry.split) if isinstance(entry, Document) else None
    sent = PassageIn(
        id=passage.id,
        text=passage.text,
        language=None if passage.language == UNDETERMINED else passage.language,
        parallel_id=passage.parallel_id,
        metadata=dict(passage.metadata),
        document_id=passage.document_id,
        span=None if passage.span is None else list(passage.span),
        split=None if split is None else SplitIn(**split),
    )
    return sent.model_dump_json(exclude_none=True).encode() + b"\n"


def _reason(answer: LineAnswer) -> str:
    return answer.error.detail if answer.error else answer.status


def _problem_detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase or "no explanation"
