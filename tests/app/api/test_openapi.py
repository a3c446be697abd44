"""The API description. ``UPDATE_GOLDEN=1 pytest tests/app/api/test_openapi.py`` rewrites it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from app.api.examples import SEARCH_REQUESTS, SEARCH_RESPONSES
from app.api.problem import PROBLEM_MEDIA_TYPE
from app.api.schemas import SearchResponse

GOLDEN = Path(__file__).parents[2] / "golden" / "openapi.json"


@pytest.fixture
def document(make_app):
    described = make_app().openapi()
    described["info"]["version"] = "0"  # a release is no change of the API
    return json.loads(json.dumps(described))


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [op for path in document["paths"].values() for op in path.values()]


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


def test_every_reference_leads_somewhere(document):
    found = references(document)

    assert found
    for reference in set(found):
        *_, name = reference.split("/")
        assert reference == f"#/components/schemas/{name}"
        assert name in document["components"]["schemas"]


def test_every_member_of_a_search_is_described_in_words(document):
    schemas = document["components"]["schemas"]
    for name in ("SearchBody", "LanguageOptions", "PassageIn"):
        for member, schema in schemas[name]["properties"].items():
            described = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
            assert described.get("description"), f"{name}.{member}"
    assert "seven in ten" in schemas["HitOut"]["properties"]["probability"]["description"]


@pytest.mark.parametrize("name", SEARCH_REQUESTS)
async def test_every_example_request_is_answered(stocked, name):
    response = await stocked.post("/v1/search", json=SEARCH_REQUESTS[name]["value"])

    assert response.status_code == 200


@pytest.mark.parametrize("name", SEARCH_RESPONSES)
async def test_every_example_response_is_what_the_service_would_send(stocked, name):
    example = SEARCH_RESPONSES[name]["value"]
    SearchResponse.model_validate(example)

    real = (await stocked.post("/v1/search", json={"query": "the hole"})).json()

    assert set(example) == set(real)
    for hit in example["hits"]:
        assert set(hit) == set(real["hits"][0])


async def test_the_description_is_served(client):
    assert (await client.get("/openapi.json")).json()["info"]["title"] == "Isoglot"
