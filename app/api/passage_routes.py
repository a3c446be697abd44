"""Passages: upload, look at, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import JsonValue, ValidationError

from app.api import convert
from app.api.errors import api_error, invalid_request, validation_items
from app.api.ndjson import NdjsonUpload
from app.api.problem import ProblemItem, documented
from app.api.readiness import ServicesDep, StateDep
from app.api.schemas import PassageBatch, PassageIn, PassageOut, StoredOut
from app.api.strict_json import (
    JSON_MEDIA_TYPE,
    NDJSON_MEDIA_TYPE,
    read_json,
    require_media_type,
)
from app.core.errors import InvalidInputError, InvalidPassageError
from app.core.ingest import checked
from app.core.types import Passage

router = APIRouter(tags=["passages"])

DESCRIBED_MODELS = (PassageBatch, PassageIn)
"""Models that the API description refers to by name; no route declares them to the framework."""

_LINES = (
    '{"line":1,"id":"a","status":"stored"}\n'
    '{"line":2,"status":"rejected","error":{"code":"malformed_json","detail":"The line is not '
    'JSON: expected ident at line 1 column 2."}}\n'
    '{"summary":{"received":2,"stored":1,"rejected":1}}\n'
)

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
                }
            },
            NDJSON_MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/PassageIn"},
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
            "content": {NDJSON_MEDIA_TYPE: {"schema": {"type": "string"}, "example": _LINES}},
        },
        **documented(400, 409, 413, 415, 422, 500, 503),
    },
    openapi_extra=_REQUEST_BODY,
)
async def store_passages(
    request: Request, services: ServicesDep, state: StateDep
) -> StoredOut | Response:
    """Insert passages, or replace those with the same id.

    JSON (`{"passages": [...]}` or a list) is stored as a whole or not at all. NDJSON is read line
    by line, however long it is: good lines are stored, bad ones are reported by number.
    """
    if require_media_type(request, JSON_MEDIA_TYPE, NDJSON_MEDIA_TYPE) == NDJSON_MEDIA_TYPE:
        return NdjsonUpload(request, services.ingest, state.metrics)
    raw = await read_json(request)
    root = "" if isinstance(raw, list) else "/passages"
    received = len(_members(raw))
    try:
        _check_size(received, state.max_batch)
        stored = await _add(services, _passages(raw, root), root)
    except Exception:
        state.metrics.passages_answered(stored=0, rejected=received)
        raise
    state.metrics.passages_answered(stored=stored, rejected=0)
    return StoredOut(stored=stored)


@router.get(
    "/v1/passages/{passage_id:path}",
    operation_id="getPassage",
    summary="Look at a passage",
    responses=documented(404, 409, 500, 503),
)
async def get_passage(passage_id: str, services: ServicesDep) -> PassageOut:
    """Return a stored passage."""
    return convert.from_passage(await services.ingest.get(passage_id))


@router.delete(
    "/v1/passages/{passage_id:path}",
    operation_id="deletePassage",
    summary="Delete a passage",
    status_code=204,
    responses=documented(404, 409, 500, 503),
)
async def delete_passage(passage_id: str, services: ServicesDep) -> None:
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


def _passages(raw: JsonValue, root: str) -> list[Passage]:
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
    passages: list[Passage] = []
    problems: list[ProblemItem] = []
    for index, passage in enumerate(batch.passages):
        try:
            passages.append(checked(convert.to_passage(passage)))
        except InvalidInputError as error:
            pointer = f"{root}/{index}{error.pointer}"
            problems.append(ProblemItem(pointer=pointer, code=error.code, detail=str(error)))
    if problems:
        raise invalid_request(problems, InvalidPassageError.code)
    return passages


async def _add(services: ServicesDep, passages: Sequence[Passage], root: str) -> int:
    try:
        return await services.ingest.add(passages)
    except InvalidPassageError as error:
        # The store counts distinct passages; the caller counts what was sent.
        _, index, *rest = error.pointer.split("/")
        sent_at = {passage.id: position for position, passage in enumerate(passages)}
        position = list(sent_at.values())[int(index)]
        pointer = "/".join([root, str(position), *rest])
        raise InvalidPassageError(str(error), pointer=pointer) from error
