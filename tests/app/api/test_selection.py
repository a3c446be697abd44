"""List, count, facets, delete by filter, and the description of the collection."""

import json
from typing import Any

import pytest

from app.api.schemas.passage import MAX_PAGE
from app.core.types import FieldKind
from tests.app.api.problems import pointers, problem_of

FIELDS: dict[str, FieldKind] = {"product": "keyword", "year": "integer", "price": "float"}

PASSAGES: list[dict[str, Any]] = [
    {
        "id": f"p{n}",
        "text": f"the text {n}",
        "language": "de" if n % 3 == 0 else "sw",
        "metadata": {"product": ["pro", "team"][n % 2], "year": 2020 + n, "price": n / 2},
    }
    for n in range(9)
]

PRO: dict[str, Any] = {"must": [{"key": "product", "match": {"value": "pro"}}]}
WRONG: dict[str, Any] = {"must": [{"key": "colour", "match": {"value": "red"}}]}


@pytest.fixture
async def stocked(serve):
    async with serve(filter_fields=FIELDS) as client:
        assert (await client.post("/v1/passages", json=PASSAGES)).json()["created"] == 9
        yield client


async def ids_of_pages(client, **query) -> list[list[str]]:
    pages = []
    cursor = None
    while True:
        given = query if cursor is None else {**query, "cursor": cursor}
        page = (await client.get("/v1/passages", params=given)).json()
        pages.append([passage["id"] for passage in page["passages"]])
        cursor = page["next_cursor"]
        if cursor is None:
            return pages


class TestListing:
    async def test_pages_meet_every_passage_once(self, stocked):
        pages = await ids_of_pages(stocked, limit=4)
        assert [len(page) for page in pages] == [4, 4, 1]
        listed = [passage_id for page in pages for passage_id in page]
        assert sorted(listed) == [f"p{n}" for n in range(9)]
        assert await ids_of_pages(stocked, limit=9) == [listed]

    async def test_a_filter_is_sent_as_json(self, stocked):
        pages = await ids_of_pages(stocked, limit=2, filter=json.dumps(PRO))
        assert {passage_id for page in pages for passage_id in page} == {
            "p0",
            "p2",
            "p4",
            "p6",
            "p8",
        }

    async def test_an_empty_collection_has_one_empty_page(self, client):
        assert await ids_of_pages(client) == [[]]

    @pytest.mark.parametrize(
        ("query", "status", "code", "pointer"),
        [
            ({"limit": 0}, 422, "invalid_request", "/limit"),
            ({"limit": MAX_PAGE + 1}, 422, "invalid_request", "/limit"),
            ({"cursor": "?"}, 422, "invalid_input", "/cursor"),
            ({"cursor": "_w"}, 422, "invalid_input", "/cursor"),
            ({"cursor": ""}, 422, "invalid_input", "/after"),
            ({"filter": "{"}, 400, "malformed_filter", "/filter"),
            ({"filter": "[]"}, 400, "malformed_filter", "/filter"),
            ({"filter": json.dumps(WRONG)}, 400, "malformed_filter", "/filter/must/0/key"),
        ],
    )
    async def test_a_malformed_question_is_refused(self, stocked, query, status, code, pointer):
        response = await stocked.get("/v1/passages", params=query)
        assert pointers(problem_of(response, status, code)) == [pointer]


class TestCounting:
    @pytest.mark.parametrize(
        ("body", "count"),
        [
            ({}, 9),
            ({"filter": None}, 9),
            ({"filter": {}}, 9),
            ({"filter": PRO}, 5),
            ({"filter": {"must": [{"key": "price", "range": {"gte": 1, "lt": 2}}]}}, 2),
            ({"filter": {"must_not": [{"key": "language", "match": {"value": "de"}}]}}, 6),
        ],
    )
    async def test_the_selected_passages_are_counted(self, stocked, body, count):
        assert (await stocked.post("/v1/passages:count", json=body)).json() == {"count": count}

    async def test_an_undeclared_field_is_refused_with_the_declared_ones(self, stocked):
        response = await stocked.post("/v1/passages:count", json={"filter": WRONG})
        body = problem_of(response, 400, "malformed_filter")
        assert pointers(body) == ["/filter/must/0/key"]
        assert "document_id, language, parallel_id, price, product, year" in body["detail"]


class TestFacets:
    async def test_values_are_counted_among_the_selected_passages(self, stocked):
        body = {"field": "language", "filter": PRO}
        assert (await stocked.post("/v1/passages:facets", json=body)).json() == {
            "field": "language",
            "values": [{"value": "sw", "count": 3}, {"value": "de", "count": 2}],
            "truncated": False,
        }

    async def test_more_values_than_asked_for_are_announced(self, stocked):
        body = {"field": "year", "limit": 2}
        assert (await stocked.post("/v1/passages:facets", json=body)).json() == {
            "field": "year",
            "values": [{"value": 2020, "count": 1}, {"value": 2021, "count": 1}],
            "truncated": True,
        }

    @pytest.mark.parametrize(
        ("body", "status", "code", "pointer"),
        [
            ({"field": "colour"}, 400, "malformed_filter", "/field"),
            ({"field": "price"}, 400, "malformed_filter", "/field"),
            ({"field": "year", "limit": 0}, 422, "invalid_input", "/limit"),
            ({"field": "year", "limit": 1001}, 422, "invalid_input", "/limit"),
            ({}, 422, "invalid_request", "/field"),
        ],
    )
    async def test_what_cannot_be_counted_is_refused(self, stocked, body, status, code, pointer):
        response = await stocked.post("/v1/passages:facets", json=body)
        assert pointers(problem_of(response, status, code)) == [pointer]


class TestDeleting:
    async def count(self, client) -> int:
        return int((await client.post("/v1/passages:count", json={})).json()["count"])

    async def test_a_dry_run_counts_and_deletes_nothing(self, stocked):
        body = {"filter": PRO, "dry_run": True}
        response = await stocked.post("/v1/passages:delete", json=body)
        assert response.json() == {"matched": 5, "deleted": 0, "dry_run": True}
        assert await self.count(stocked) == 9

    async def test_as_many_as_expected_are_deleted(self, stocked):
        body = {"filter": PRO, "expected_count": 5}
        response = await stocked.post("/v1/passages:delete", json=body)
        assert response.json() == {"matched": 5, "deleted": 5, "dry_run": False}
        assert await self.count(stocked) == 4

    async def test_another_number_than_expected_deletes_nothing(self, stocked):
        for allow_all in (False, True):
            body = {"filter": PRO, "expected_count": 4, "allow_all": allow_all}
            response = await stocked.post("/v1/passages:delete", json=body)
            assert (
                "selects 5 passages, not 4" in problem_of(response, 409, "count_mismatch")["detail"]
            )
        assert await self.count(stocked) == 9

    @pytest.mark.parametrize("body", [{}, {"filter": PRO}, {"filter": {}}])
    async def test_nothing_is_deleted_without_a_number_or_leave(self, stocked, body):
        response = await stocked.post("/v1/passages:delete", json=body)
        assert pointers(problem_of(response, 422, "invalid_input")) == ["/expected_count"]
        assert await self.count(stocked) == 9

    async def test_everything_is_deleted_on_request(self, stocked):
        response = await stocked.post("/v1/passages:delete", json={"allow_all": True})
        assert response.json()["deleted"] == 9
        assert await self.count(stocked) == 0


class TestCollection:
    async def test_the_collection_is_described(self, stocked, client):
        found = (await stocked.get("/v1/collections/passages")).json()
        ready = (await stocked.get("/health/ready")).json()
        assert found["name"] == "passages"
        assert found["passages"] == 9
        assert found["encoder"] == ready["model"]["encoder"]
        assert found["calibrator"] == ready["model"]["calibrator"]
        assert found["fields"]["price"] == "float"
        assert found["fields"]["language"] == "keyword"
        assert [(x["code"], x["passages"], x["calibration"]) for x in found["languages"]] == [
            ("sw", 6, "fallback"),
            ("de", 3, "labels"),
        ]
        assert found["labelled_share"] == pytest.approx(1 / 3, abs=1e-6)

    async def test_without_calibrator_or_passages_there_is_no_coverage(
        self, serve, uncalibrated_bundle_dir
    ):
        async with serve(bundle=uncalibrated_bundle_dir) as client:
            empty = (await client.get("/v1/collections/passages")).json()
            await client.post("/v1/passages", json=[{"id": "a", "text": "xyzzy"}])
            full = (await client.get("/v1/collections/passages")).json()
        assert (empty["languages"], empty["labelled_share"]) == ([], None)
        assert full["languages"] == [
            {"code": "und", "passages": 1, "share": 1.0, "calibration": "none"}
        ]
        assert (full["calibrator"], full["labelled_share"]) == (None, None)

    async def test_passages_in_no_known_language_share_one_calibration(self, client):
        await client.post("/v1/passages", json=[{"id": "a", "text": "xyzzy"}])
        [language] = (await client.get("/v1/collections/passages")).json()["languages"]
        assert language["calibration"] == "pooled"

    async def test_another_collection_is_not_found(self, client):
        response = await client.get("/v1/collections/other")
        assert "serves 'passages'" in problem_of(response, 404, "not_found")["detail"]
