"""The API description. ``UPDATE_GOLDEN=1 pytest tests/app/api/test_openapi.py`` rewrites it."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel, TypeAdapter

from app.api.access import POLICY, PUBLIC
from app.api.examples import passage as passage_examples
from app.api.examples.search import (
    BATCH_REQUESTS,
    BATCH_RESPONSES,
    SEARCH_REQUESTS,
    SEARCH_RESPONSES,
)
from app.api.problem import PROBLEM_MEDIA_TYPE
from app.api.schemas.answer import SearchBatchResponse, SearchResponse
from app.api.schemas.common import Closing, LineAnswer
from app.core.errors import EncoderMismatchError
from tests.app.api.conftest import PASSAGES, serving, until_started
from tests.app.api.test_operations import failing

GOLDEN = Path(__file__).parents[2] / "golden" / "openapi.json"


@pytest.fixture
def document(make_app):
    described = make_app().openapi()
    described["info"]["version"] = "0"  # a release is no change of the API
    return json.loads(json.dumps(described))


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [op for path in document["paths"].values() for op in path.values()]


def body_examples(document: dict[str, Any], path: str) -> list[Any]:
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    return [example["value"] for example in body["examples"].values()]


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        found = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return found + [ref for value in node.values() for ref in references(value)]
    if isinstance(node, list):
        return [ref for value in node for ref in references(value)]
    return []


def test_the_description_is_the_one_that_was_agreed(document):
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")

    assert text == GOLDEN.read_text(encoding="utf-8"), (
        "The API changed. If that is meant, run UPDATE_GOLDEN=1 pytest " + __file__
    )


def test_every_operation_has_a_stable_name_a_tag_and_a_summary(document):
    names = [op["operationId"] for op in operations(document)]

    assert len(set(names)) == len(names)
    assert all(name.isalpha() and name[0].islower() for name in names)
    assert all(op["tags"] and op["summary"] for op in operations(document))


def test_every_error_is_described_as_a_problem(document):
    for operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert set(response["content"]) == {PROBLEM_MEDIA_TYPE}, operation["operationId"]


def test_every_operation_describes_every_problem_it_can_answer_with(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            expected = set()
            if POLICY[method.upper(), path] != PUBLIC:
                expected |= {"401", "403", "429"}
            if path.startswith("/v1") or path == "/search":
                # No services: the start failed, goes on, or found vectors of another encoder.
                expected |= {"409", "500", "503"}
            if "requestBody" in operation:
                expected |= {"400", "408", "413", "415", "422"}
            if "{" in path:
                expected |= {"404"}
            assert expected <= set(operation["responses"]), operation["operationId"]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/rerank", "/v1/search"])
async def test_a_start_that_failed_is_answered_as_described(make_app, document, path):
    other = EncoderMismatchError(collection="passages", indexed_with="a", loaded="b")
    app = make_app(failing(other))
    async with serving(app) as client:
        await until_started(app)
        (example, *_) = body_examples(document, path)
        response = await client.post(path, json=example)

    assert response.status_code == 409
    assert "409" in document["paths"][path]["post"]["responses"]


def test_every_body_and_every_answer_has_named_examples(document):
    for operation in operations(document):
        bodies = operation.get("requestBody", {}).get("content", {})
        answers = operation["responses"].get("200", {}).get("content", {})
        assert answers or operation["operationId"] == "deletePassage"
        for media in (*bodies.values(), *answers.values()):
            assert media["examples"], operation["operationId"]
            assert all(e["summary"] for e in media["examples"].values()), operation["operationId"]


def test_every_parameter_of_a_path_has_named_examples(document):
    in_paths = [
        parameter
        for operation in operations(document)
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "path"
    ]

    assert len(in_paths) >= 4
    assert all(p["examples"] and p["description"] for p in in_paths)


def test_every_example_answer_has_the_form_that_the_service_sends(make_app, document):
    checked = 0
    for context in iter_route_contexts(make_app().routes):
        route = context.original_route
        model = getattr(route, "response_model", None)
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            continue
        assert isinstance(route, APIRoute)
        described = document["paths"][context.path_format]
        for method in route.methods or ():
            content = described[method.lower()]["responses"]["200"]["content"]
            for name, example in content["application/json"]["examples"].items():
                parsed = TypeAdapter(model).validate_json(json.dumps(example["value"]))
                assert parsed.model_dump(mode="json").keys() == example["value"].keys(), name
                checked += 1

    assert checked >= 20


def test_every_line_of_the_example_of_an_upload_has_the_form_that_the_service_sends():
    *lines, summary = passage_examples.LINE_ANSWERS["lines"]["value"].splitlines()

    statuses = [LineAnswer.model_validate_json(line).status for line in lines]
    assert statuses == ["created", "unchanged", "rejected"]
    assert Closing.model_validate_json(summary).summary.received == len(lines)


@pytest.mark.parametrize(
    "path", ["/v1/passages", "/v1/passages:count", "/v1/passages:facets", "/v1/passages:delete"]
)
async def test_every_example_of_a_request_about_passages_is_answered(client, document, path):
    for example in body_examples(document, path):
        response = await client.post(path, json=example)

        assert response.status_code == 200, response.text


async def test_the_example_of_an_upload_by_lines_stores_every_line(client):
    lines = passage_examples.STORE_LINES["lines"]["value"].encode()
    headers = {"Content-Type": "application/x-ndjson"}

    answers = (await client.post("/v1/passages", content=lines, headers=headers)).text.splitlines()

    assert json.loads(answers[-1])["summary"]["created"] == lines.count(b"\n") == len(answers) - 1


async def test_the_example_ids_are_found_once_the_example_passages_are_stored(client):
    for example in passage_examples.STORE_REQUESTS.values():
        await client.post("/v1/passages", json=example["value"])

    for example in passage_examples.PASSAGE_IDS.values():
        path = f"/v1/passages/{quote(example['value'])}"
        assert (await client.get(path)).status_code == 200

    (language,) = passage_examples.LIST_FILTERS.values()
    page = (await client.get("/v1/passages", params={"filter": language["value"]})).json()
    assert page["passages"] == [passage_examples.PASSAGE_ANSWERS["passage"]["value"]]


def test_every_reference_leads_somewhere(document):
    found = references(document)

    assert found
    for reference in set(found):
        *_, name = reference.split("/")
        assert reference == f"#/components/schemas/{name}"
        assert name in document["components"]["schemas"]


def test_every_member_of_a_search_is_described_in_words(document):
    schemas = document["components"]["schemas"]
    for name in ("SearchBody", "SearchBatch", "LanguageOptions", "PassageIn"):
        for member, schema in schemas[name]["properties"].items():
            described = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
            assert described.get("description"), f"{name}.{member}"
    assert "seven in ten" in schemas["HitOut"]["properties"]["probability"]["description"]


@pytest.mark.parametrize("name", SEARCH_REQUESTS)
async def test_every_example_request_is_answered(serve, name):
    async with serve(hybrid=True) as client:
        assert (await client.post("/v1/passages", json=PASSAGES)).status_code == 200
        response = await client.post("/v1/search", json=SEARCH_REQUESTS[name]["value"])

    assert response.status_code == 200


@pytest.mark.parametrize("name", SEARCH_RESPONSES)
async def test_every_example_response_is_what_the_service_would_send(stocked, name):
    example = SEARCH_RESPONSES[name]["value"]
    SearchResponse.model_validate(example)

    real = (await stocked.post("/v1/search", json={"query": "the hole"})).json()

    assert set(example) == set(real)
    for hit in example["hits"]:
        assert set(hit) == set(real["hits"][0])


async def test_the_example_of_a_batch_is_answered_as_it_says(stocked):
    request, response = BATCH_REQUESTS["two"]["value"], BATCH_RESPONSES["two"]["value"]
    SearchBatchResponse.model_validate(response)

    real = (await stocked.post("/v1/search:batch", json=request)).json()

    assert set(real) == set(response)
    assert [item["status"] for item in real["results"]] == [200, 422]
    problem, shown = (r["results"][1]["problem"] for r in (real, response))
    assert {**problem, "request_id": ""} == {**shown, "request_id": ""}


async def test_the_description_is_served(client):
    assert (await client.get("/openapi.json")).json()["info"]["title"] == "Isoglot"
