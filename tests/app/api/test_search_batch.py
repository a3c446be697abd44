from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.app.api.answers import hits_of
from tests.app.api.problems import pointers, problem_of
from tests.app.telemetry.samples import Samples

QUESTION = {"query": "how to find the hole in the tube"}


async def batch(client: httpx.AsyncClient, *searches: Mapping[str, object]) -> Any:
    response = await client.post("/v1/search:batch", json={"searches": searches})
    assert response.status_code == 200, response.text
    return response.json()


async def test_each_search_is_answered_as_if_it_came_alone(stocked):
    searches: list[dict[str, object]] = [
        {**QUESTION, "limit": 1, "explain": "full"},
        {"query": "bread", "include": []},
        {**QUESTION, "language": {"passages": ["de"]}, "diagnostics": ["language"]},
    ]
    body = await batch(stocked, *searches)
    assert [item["status"] for item in body["results"]] == [200, 200, 200]
    for item, alone in zip(body["results"], searches, strict=True):
        single = (await stocked.post("/v1/search", json=alone)).json()
        assert item["problem"] is None
        assert hits_of(item["response"]) == hits_of(single)
        assert item["response"]["page"] | {"next_cursor": None} == single["page"] | {
            "next_cursor": None
        }


async def test_a_search_that_cannot_be_answered_has_a_problem_in_its_place(stocked):
    body = await batch(
        stocked,
        QUESTION,
        {**QUESTION, "limit": 0},
        {"query": "?!"},
        {**QUESTION, "filter": {"must": [{"key": "colour", "match": {"value": 1}}]}},
        {**QUESTION, "cursor": "none"},
    )
    assert [item["status"] for item in body["results"]] == [200, 422, 422, 400, 400]
    problems = [item["problem"] for item in body["results"][1:]]
    assert [problem["code"] for problem in problems] == [
        "invalid_input",
        "unencodable_text",
        "malformed_filter",
        "invalid_cursor",
    ]
    assert problems[0]["errors"][0]["pointer"] == "/limit"
    assert problems[0]["instance"] == "/v1/search:batch"
    assert all(item["response"] is None for item in body["results"][1:])


async def test_searches_are_counted_one_by_one_and_their_stages_once(stocked):
    await batch(stocked, QUESTION, {"query": ""}, QUESTION)
    counted = Samples((await stocked.get("/metrics")).text)
    assert counted.total("isoglot_queries_total", decision="answered") == 2
    assert counted.value("isoglot_search_stage_duration_seconds_count", stage="encode") == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"searches": []}, "/searches"),
        ({"searches": [QUESTION] * 65}, "/searches"),
        ({"searches": [QUESTION, {**QUESTION, "limt": 3}]}, "/searches/1/limt"),
        ({}, "/searches"),
    ],
)
async def test_a_batch_of_the_wrong_shape_is_refused_as_a_whole(stocked, body, pointer):
    response = await stocked.post("/v1/search:batch", json=body)
    assert pointers(problem_of(response, 422, "invalid_request")) == [pointer]
