"""Passages: upload, look at, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import JsonValue, ValidationError

from app.api import convert
from app.api.errors import api_error, invalid_request, validation_items
from app.api.examples import passage as passage_examples
from app.api.ndjson import NdjsonUpload, OnError, UploadOptions
from app.api.problem import ProblemItem, answered, documented
from app.api.readiness import Services, ServicesDep, StateDep
from app.api.schemas.common import (
    Closing,
    LineAnswer,
    PassageBatch,
    PassageIn,
    PassageOut,
    StoredOut,
)
from app.api.strict_json import (
    JSON_MEDIA_TYPE,
    NDJSON_MEDIA_TYPE,
    content_encoding,
    read_json,
    require_media_type,
)
from app.core.errors import InvalidInputError, InvalidPassageError
from app.core.passages.entries import Entry, Stored, content_hash

router = APIRouter(tags=["passages"])

DESCRIBED_MODELS = (PassageBatch, PassageIn, LineAnswer, Closing)
"""Models that the API description refers to by name; no route declares them to the framework."""

_ANSWER = {
    "anyOf": [
        {"$ref": "#/components/schemas/LineAnswer"},
        {"$ref": "#/components/schemas/Closing"},
    ]
}

PassageId = Annotated[
    str,
    Path(
        description="Id of the passage; a slash in it may stand as it is.",
        openapi_examples=passage_examples.PASSAGE_IDS,
    ),
]

_REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON_MEDIA_TYPE: {
                "schema": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/PassageBatch"},
                        {"type": "array", "items": {"$ref": "#/components/schemas/PassageIn"}},
                    ]
                },
                "examples": passage_examples.STORE_REQUESTS,
            },
            NDJSON_MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/PassageIn"},
                "examples": passage_examples.STORE_LINES,
            },
        },
    }
}


@router.post(
    "/v1/passages",
    operation_id="storePassages",
    summary="Store passages",
    response_model=StoredOut,
    responses={
        200: {
            "description": "Stored. NDJSON is answered with a line for every line and a summary; "
            "an answer without summary was cut off.",
            "content": {
                JSON_MEDIA_TYPE: {"examples": passage_examples.STORE_ANSWERS},
                NDJSON_MEDIA_TYPE: {"schema": _ANSWER, "examples": passage_examples.LINE_ANSWERS},
            },
        },
        **documented(400, 409, 413, 415, 422, 500, 503, 507),
    },
    openapi_extra=_REQUEST_BODY,
)
async def store_passages(
    request: Request,
    services: ServicesDep,
    state: StateDep,
    *,
    on_error: Annotated[
        OnError,
        Query(
            description="NDJSON only. `continue`: a rejected line is reported, and the next one "
            "is read. `abort`: the upload ends at the first line that is rejected; what comes "
            "before it is stored, and nothing after it."
        ),
    ] = "continue",
    wait: Annotated[
        bool,
        Query(
            description="`true`: passages survive loss of power before they are answered. "
            "`false`: they are found at once and survive the end of the process, and loss of "
            "power a little later; uploads are faster."
        ),
    ] = True,
) -> StoredOut | Response:
    """Insert passages, or replace those with the same id; what is unchanged is not encoded again.

    JSON (`{"passages": [...]}` or a list) is stored as a whole or not at all. NDJSON is read line
    by line, however long it is, and may be compressed with gzip: good lines are stored, bad ones
    are reported by number.
    """
    if require_media_type(request, JSON_MEDIA_TYPE, NDJSON_MEDIA_TYPE) == NDJSON_MEDIA_TYPE:
        is_gzip = content_encoding(request) == "gzip"
        options = UploadOptions(on_error=on_error, wait=wait, is_gzip=is_gzip)
        return NdjsonUpload(request, services.ingest, state.metrics, options)
    raw = await read_json(request)
    root = "" if isinstance(raw, list) else "/passages"
    received = len(_members(raw))
    try:
        _check_size(received, state.max_batch)
        outcomes = await _add(services, _entries(services, raw, root), root, wait=wait)
    except Exception:
        state.metrics.store.uploaded(stored=0, rejected=received)
        raise
    answer = _summed_up(outcomes)
    state.metrics.store.uploaded(stored=answer.stored, rejected=0)
    return answer


@router.get(
    "/v1/passages/{passage_id:path}",
    operation_id="getPassage",
    summary="Look at a passage",
    response_model=PassageOut,
    responses={
        **answered(
            passage_examples.PASSAGE_ANSWERS,
            headers={
                "ETag": {
                    "description": "Changes with the content of the passage.",
                    "schema": {"type": "string"},
                }
            },
        ),
        304: {"description": "The passage is as `If-None-Match` knows it."},
        **documented(404, 409, 500, 503),
    },
)
async def get_passage(
    passage_id: PassageId,
    services: ServicesDep,
    response: Response,
    if_none_match: Annotated[str | None, Header(description="`ETag` of an earlier answer.")] = None,
) -> PassageOut | Response:
    """Return a stored passage."""
    passage = await services.ingest.get(passage_id)
    tag = f'"{content_hash(passage)}"'
    known = {known.strip().removeprefix("W/") for known in (if_none_match or "").split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return convert.from_passage(passage)


@router.delete(
    "/v1/passages/{passage_id:path}",
    operation_id="deletePassage",
    summary="Delete a passage",
    status_code=204,
    responses=documented(404, 409, 500, 503),
)
async def delete_passage(passage_id: PassageId, services: ServicesDep) -> None:
    """Delete a stored passage."""
    await services.ingest.delete(passage_id)


def _check_size(received: int, allowed: int) -> None:
    if received > allowed:
        raise api_error(
            "batch_too_large",
            f"The request has {received} passages; at most {allowed} are allowed. "
            f"Send fewer, or stream them as {NDJSON_MEDIA_TYPE}.",
        )


def _members(raw: JsonValue) -> list[JsonValue]:
    found = raw.get("passages") if isinstance(raw, dict) else raw
    return found if isinstance(found, list) else []


def _entries(services: Services, raw: JsonValue, root: str) -> list[Entry]:
    """Validate all passages of a JSON body, and report everything that is wrong at once."""
    try:
        batch = PassageBatch.model_validate({"passages": raw} if isinstance(raw, list) else raw)
    except ValidationError as error:
        items = validation_items(error.errors(include_input=False))
        if not root:
            items = [
                item.model_copy(update={"pointer": item.pointer.removeprefix("/passages")})
                for item in items
            ]
        raise invalid_request(items) from error
    entries: list[Entry] = []
    problems: list[ProblemItem] = []
    for index, passage in enumerate(batch.passages):
        try:
            entries.append(services.ingest.check(convert.to_entry(passage)))
        except InvalidInputError as error:
            pointer = f"{root}/{index}{error.pointer}"
            problems.append(ProblemItem(pointer=pointer, code=error.code, detail=str(error)))
    if problems:
        raise invalid_request(problems, InvalidPassageError.code)
    return entries


async def _add(
    services: Services, entries: Sequence[Entry], root: str, *, wait: bool
) -> list[Stored]:
    try:
        return await services.ingest.add(entries, durable=wait)
    except InvalidPassageError as error:
        raise InvalidPassageError(str(error), pointer=f"{root}{error.pointer}") from error


def _summed_up(outcomes: Sequence[Stored]) -> StoredOut:
    statuses = [outcome.status for outcome in outcomes]
    return StoredOut(
        stored=len({outcome.id for outcome in outcomes}),
        created=statuses.count("created"),
        updated=statuses.count("updated"),
        unchanged=statuses.count("unchanged"),
    )
