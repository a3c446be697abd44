"""The API description (OpenAPI 3.1) at ``/openapi.json``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic.json_schema import models_json_schema

from app.api.access import describe_access
from app.api.problem import Problem
from app.api.routes.passage import DESCRIBED_MODELS

_ABOUT = """Multilingual search whose scores mean what they say.

A query in any language, passages in any language, and for every hit a **probability** of
relevance: the output of a calibrator that was fitted on labelled data and measured on held-out
data. `score` is the cosine of the encoder's vectors and comparable only within one encoder.

Errors are `application/problem+json` (RFC 9457) with a stable `code`. Every response carries
`X-Request-ID`, which is accepted from the client or created, and `Server-Timing`.
"""

_TAGS = [
    {"name": "search", "description": "Find passages."},
    {"name": "passages", "description": "Store, look at and delete passages."},
    {"name": "compatibility", "description": "What clients of other services expect."},
    {"name": "model", "description": "What answers."},
    {"name": "operations", "description": "For operators and tools."},
]

_GENERATED = ("HTTPValidationError", "ValidationError")


def install_description(app: FastAPI) -> None:
    """Make the application describe itself with problem bodies, not the framework's errors."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]  # the framework's documented way


def _describe(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="Isoglot",
        version=_version(),
        summary="Multilingual search with calibrated probabilities",
        description=_ABOUT,
        routes=app.routes,
        tags=_TAGS,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    for path in document["paths"].values():
        for operation in path.values():
            _drop_generated_errors(operation["responses"])
    _restore_examples(app, document)
    describe_access(document)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _GENERATED:
        schemas.pop(name, None)
    _, extra = models_json_schema(
        [(Problem, "serialization"), *((model, "validation") for model in DESCRIBED_MODELS)],
        ref_template="#/components/schemas/{model}",
    )
    schemas.update(extra["$defs"])
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _drop_generated_errors(responses: dict[str, Any]) -> None:
    schema = responses.get("422", {}).get("content", {}).get("application/json", {})
    if "HTTPValidationError" in str(schema):
        del responses["422"]


def _restore_examples(app: FastAPI, document: dict[str, Any]) -> None:
    """Put the examples of answers back as they were: the framework drops members that are null."""
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for method in route.methods or ():
            described = document["paths"][context.path_format][method.lower()]["responses"]
            for status, response in route.responses.items():
                for media_type, content in response.get("content", {}).items():
                    if "examples" in content:
                        shown = described[str(status)]["content"][media_type]
                        shown["examples"] = content["examples"]


def _version() -> str:
    try:
        return version("isoglot")
    except PackageNotFoundError:
        return "0"
