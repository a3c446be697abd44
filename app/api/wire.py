"""What all wire models have in common."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field


class RequestModel(BaseModel):
    """A body, or a part of one: members that are not known are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ResponseModel(BaseModel):
    """An answer, or a part of one: the service fills in and states every member."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


LanguageTag = Annotated[
    str, Field(description="BCP-47 language tag, for example `de`, `pt-BR` or `zh-Hant`.")
]
Probability = Annotated[float, Field(ge=0, le=1)]


def json_response(answer: ResponseModel) -> Response:
    """Return an answer as it is, where the framework would validate it a second time."""
    return Response(answer.model_dump_json(), media_type="application/json")
