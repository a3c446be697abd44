"""Hybrid retrieval over HTTP."""

from __future__ import annotations

import pytest

from tests.app.api.problems import pointers, problem_of

PARTS = [
    {"id": "pump.en", "text": "how to find the hole in the tube of the pump", "language": "en"},
    {"id": "part.en", "text": "order number E1047", "language": "en"},
    {"id": "part.de", "text": "der Schlauch ist nicht dicht", "language": "de"},
]
QUESTION = {"query": "where is E1047 in the tube", "retrieval": "hybrid"}


@pytest.fixture
async def hybrid(serve):
    """A service whose collection has its words indexed."""
    async with serve(hybrid=True) as client:
        assert (await client.post("/v1/passages", json=PARTS)).status_code == 200
        yield client


async def test_a_hit_has_both_scores_and_no_probability(hybrid):
    body = (await hybrid.post("/v1/search", json={**QUESTION, "explain": "basic"})).json()
    by_id = {hit["id"]: hit for hit in body["hits"]}
    assert by_id["part.en"]["lexical_score"] > 0
    assert by_id["part.de"]["lexical_score"] == 0
    for hit in body["hits"]:
        assert (hit["probability"], hit["probability_source"]) == (None, "uncalibrated")
        assert hit["feedback_token"] is None
        assert -1 <= hit["score"] <= 1
        said = hit["explanation"]
        assert said["rank_after"] == hit["rank"]
        assert (said["lexical_rank"] is None) == (hit["lexical_score"] == 0)
        ranks = [said["rank_before"], said["lexical_rank"]]
        if hit["language"]["code"] == "de":  # words say nothing of it
            ranks = [said["rank_before"]] * 2
        assert said["fusion"] == pytest.approx(sum(1 / (60 + r) for r in ranks if r))
    fusions = [hit["explanation"]["fusion"] for hit in body["hits"]]
    assert fusions == sorted(fusions, reverse=True)
    assert body["model"]["calibrator"] is None
    assert body["answerable_probability"] is body["expected_relevant"] is None
    assert [warning["code"] for warning in body["warnings"]] == ["no_hybrid_calibrator"]


async def test_a_dense_search_of_the_same_collection_is_as_ever(hybrid):
    body = (await hybrid.post("/v1/search", json={"query": QUESTION["query"]})).json()
    assert all(hit["probability"] is not None for hit in body["hits"])
    assert all(hit["lexical_score"] is None for hit in body["hits"])


async def test_a_collection_without_words_is_a_conflict_that_says_what_to_do(client):
    response = await client.post("/v1/search", json=QUESTION)
    problem = problem_of(response, 409, "words_not_indexed")
    assert "ISOGLOT_HYBRID=true" in problem["detail"]
    assert pointers(problem) == ["/retrieval"]


async def test_a_collection_with_words_says_so(hybrid):
    with_words = (await hybrid.get("/v1/collections/passages")).json()
    assert with_words["words_indexed"] is True


async def test_a_collection_without_words_says_so(client):
    assert (await client.get("/v1/collections/passages")).json()["words_indexed"] is False


async def test_what_needs_probabilities_is_refused(hybrid):
    response = await hybrid.post("/v1/search", json={**QUESTION, "min_probability": 0.5})
    problem = problem_of(response, 422, "invalid_input")
    assert pointers(problem) == ["/min_probability"]


async def test_in_a_batch_each_search_is_answered_as_it_wants(hybrid):
    searches = [QUESTION, {"query": QUESTION["query"]}, {**QUESTION, "target_precision": 0.5}]
    response = await hybrid.post("/v1/search:batch", json={"searches": searches})
    first, second, third = response.json()["results"]
    assert first["response"]["hits"][0]["lexical_score"] is not None
    assert second["response"]["hits"][0]["probability"] is not None
    assert (third["status"], third["problem"]["errors"][0]["pointer"]) == (422, "/target_precision")


@pytest.fixture
async def calibrated(serve, hybrid_bundle_dir):
    """The same with a bundle that has a calibrator of hybrid retrieval."""
    async with serve(hybrid=True, bundle=hybrid_bundle_dir) as client:
        assert (await client.post("/v1/passages", json=PARTS)).status_code == 200
        yield client


async def test_with_a_calibrator_of_its_own_hybrid_states_probabilities_and_says_whose(calibrated):
    asked = {**QUESTION, "explain": "full", "diagnostics": ["calibration", "language"]}
    body = (await calibrated.post("/v1/search", json=asked)).json()
    dense = (await calibrated.post("/v1/search", json={"query": QUESTION["query"]})).json()
    described = (await calibrated.get("/v1/calibration?retrieval=hybrid")).json()
    assert "no_hybrid_calibrator" not in {warning["code"] for warning in body["warnings"]}
    stated = [hit["probability"] for hit in body["hits"]]
    assert stated == sorted(stated, reverse=True)
    assert body["expected_relevant"] == pytest.approx(sum(stated))
    assert body["answerable_probability"] is not None
    assert body["model"]["calibrator"] == described["calibrator"]
    assert body["model"]["calibrator"] != dense["model"]["calibrator"]
    assert body["diagnostics"]["calibration"]["calibrator"] == described["calibrator"]
    for hit in body["hits"]:
        heads = hit["explanation"]["heads"]
        assert hit["explanation"]["fusion"] > 0
        whole = sum(head["share"] * head["probability"] for head in heads)
        assert hit["probability"] == pytest.approx(whole)
        assert any(term["feature"] == "log_lexical_rank" for term in heads[0]["terms"])


async def test_there_is_no_feedback_on_hybrid_hits(calibrated):
    body = (await calibrated.post("/v1/search", json=QUESTION)).json()
    assert {hit["feedback_token"] for hit in body["hits"]} == {None}
    dense = (await calibrated.post("/v1/search", json={"query": QUESTION["query"]})).json()
    assert None not in {hit["feedback_token"] for hit in dense["hits"]}


async def test_what_needs_probabilities_can_be_asked_then(calibrated):
    response = await calibrated.post("/v1/search", json={**QUESTION, "min_probability": 0.01})
    assert response.status_code == 200
    assert all(hit["probability"] >= 0.01 for hit in response.json()["hits"])


async def test_each_kind_of_retrieval_describes_its_calibrator(calibrated):
    dense, hybrid = [
        (await calibrated.get("/v1/calibration", params={"retrieval": kind})).json()
        for kind in ("dense", "hybrid")
    ]
    assert (dense["retrieval"], hybrid["retrieval"]) == ("dense", "hybrid")
    assert "log_lexical_rank" not in dense["heads"]["hit"]["features"]
    assert "log_lexical_rank" in hybrid["heads"]["hit"]["features"]
    assert dense == (await calibrated.get("/v1/calibration")).json()
    path = "/v1/calibration/document?retrieval=hybrid"
    document = (await calibrated.get(path)).json()
    assert (document["id"], document["retrieval"]) == (hybrid["calibrator"], "hybrid")
    collection = (await calibrated.get("/v1/collections/passages")).json()
    assert collection["hybrid_calibrator"] == hybrid["calibrator"]
    assert collection["calibrator"] == dense["calibrator"]


async def test_without_one_it_says_so(hybrid):
    described = (await hybrid.get("/v1/calibration?retrieval=hybrid")).json()
    assert described.pop("retrieval") == "hybrid"
    assert set(described.values()) == {None}
    missing = await hybrid.get("/v1/calibration/document?retrieval=hybrid")
    assert "no calibrator of hybrid" in problem_of(missing, 404, "not_found")["detail"]
    assert (await hybrid.get("/v1/collections/passages")).json()["hybrid_calibrator"] is None
    wrong = await hybrid.get("/v1/calibration?retrieval=sparse")
    assert wrong.status_code == 422
