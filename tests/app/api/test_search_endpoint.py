import pytest

from app.core.search.deadlines import STAGES
from app.core.search.types import MAX_QUERY_CHARACTERS
from tests.app.api.answers import hits_of
from tests.app.api.problems import pointers, problem_of

QUESTION = {"query": "how to find the hole in the tube"}


async def test_search_returns_the_nearest_passage_first_with_a_probability(stocked):
    response = await stocked.post("/v1/search", json=QUESTION)

    assert response.status_code == 200
    body = response.json()
    best = body["hits"][0]
    assert best["id"] == "puncture.en"
    assert best["rank"] == 1
    assert 0 < best["probability"] < 1
    assert best["probability_source"] == "pooled"  # three words in eight are known
    assert best["score_kind"] == "cosine"
    assert best["language"] == {"code": "en"}
    assert best["parallel_id"] == "puncture"
    assert body["outcome"] == "ok"
    assert body["expected_relevant"] == pytest.approx(sum(h["probability"] for h in body["hits"]))


async def test_the_short_path_answers_like_the_versioned_one(stocked):
    long = (await stocked.post("/v1/search", json=QUESTION)).json()
    short = (await stocked.post("/search", json=QUESTION)).json()

    assert hits_of(short) == hits_of(long)
    assert short["model"] == long["model"]


async def test_search_names_the_bundle_that_answered(stocked):
    model = (await stocked.post("/v1/search", json=QUESTION)).json()["model"]
    bundle = (await stocked.get("/v1/bundle")).json()

    assert model["bundle"] == f"{bundle['name']}@{bundle['id'][:12]}"
    assert model["encoder"] == bundle["encoder"]["fingerprint"]
    assert model["calibrator"] == bundle["calibrator"]["id"]
    assert model["collection"] == "passages"


async def test_the_query_language_is_identified_with_its_alternatives(stocked):
    body = (await stocked.post("/v1/search", json={"query": "how and where est"})).json()

    language = body["query_language"]
    assert language["code"] == "en"
    assert language["source"] == "detected"
    assert language["confidence"] == 0.75
    assert language["alternatives"] == [{"code": "fr", "confidence": 0.25}]


async def test_a_declared_query_language_is_believed(stocked):
    request = {**QUESTION, "language": {"query": "DE"}}

    body = (await stocked.post("/v1/search", json=request)).json()

    assert body["query_language"] == {
        "code": "de",
        "confidence": 1.0,
        "source": "declared",
        "alternatives": [],
    }
    sources = {hit["id"]: hit["probability_source"] for hit in body["hits"]}
    assert sources["puncture.de"] == "relation:same"
    assert sources["puncture.en"] == "relation:cross"


async def test_auto_is_the_same_as_no_query_language(stocked):
    left_out = (await stocked.post("/v1/search", json=QUESTION)).json()
    auto = {**QUESTION, "language": {"query": "auto"}}

    assert hits_of((await stocked.post("/v1/search", json=auto)).json()) == hits_of(left_out)


async def test_only_passages_in_the_asked_languages_are_eligible(stocked):
    request = {**QUESTION, "language": {"passages": ["de"]}}

    body = (await stocked.post("/v1/search", json=request)).json()

    assert [hit["id"] for hit in body["hits"]] == ["puncture.de"]


async def test_candidates_restrict_what_the_query_language_may_be(stocked):
    request = {**QUESTION, "language": {"candidates": ["de", "fr"]}}

    body = (await stocked.post("/v1/search", json=request)).json()

    assert body["query_language"]["code"] != "en"


async def test_options_of_the_request_leave_each_probability_alone(stocked):
    plain = (await stocked.post("/v1/search", json=QUESTION)).json()
    stated = {hit["id"]: hit["probability"] for hit in plain["hits"]}

    every: list[dict[str, object]] = [
        {"limit": 1},
        {"rank_by": "score"},
        {"min_probability": 0.0},
        {"include": []},
        {"diagnostics": ["language", "timing"]},
    ]
    for options in every:
        body = (await stocked.post("/v1/search", json={**QUESTION, **options})).json()
        assert body["hits"]
        assert all(hit["probability"] == stated[hit["id"]] for hit in body["hits"]), options


async def test_nothing_probable_enough_is_an_answer_and_no_error(stocked):
    request = {**QUESTION, "min_probability": 1.0}

    response = await stocked.post("/v1/search", json=request)

    assert response.status_code == 200
    body = response.json()
    assert body["outcome"] == "no_confident_match"
    assert body["hits"] == []
    assert body["page"]["dropped_below_min_probability"] == 3
    assert body["expected_relevant"] == 0


async def test_an_empty_collection_is_answered_with_no_match(client):
    body = (await client.post("/v1/search", json=QUESTION)).json()

    assert body["outcome"] == "no_confident_match"
    assert body["answerable_probability"] == 0


async def test_text_and_metadata_are_left_out_unless_included(stocked):
    full = (await stocked.post("/v1/search", json=QUESTION)).json()
    bare = (await stocked.post("/v1/search", json={**QUESTION, "include": []})).json()

    by_id = {hit["id"]: hit for hit in full["hits"]}
    assert by_id["puncture.de"]["metadata"] == {"source": "handbook", "page": 3}
    assert all(hit["text"] is None and hit["metadata"] is None for hit in bare["hits"])


async def test_diagnostics_are_returned_only_where_they_are_asked_for(stocked):
    none = (await stocked.post("/v1/search", json=QUESTION)).json()
    timing = (await stocked.post("/v1/search", json={**QUESTION, "diagnostics": ["timing"]})).json()
    bias = (await stocked.post("/v1/search", json={**QUESTION, "diagnostics": ["language"]})).json()

    assert none["diagnostics"] is None
    assert set(timing["diagnostics"]["timing"]) == set(STAGES)
    assert timing["diagnostics"]["language"] is None
    assert sum(bias["diagnostics"]["language"]["corpus_share"].values()) == pytest.approx(1)
    assert bias["diagnostics"]["language"]["filtered_corpus_size"] == 3


async def test_without_a_calibrator_no_probability_is_stated(serve, uncalibrated_bundle_dir):
    async with serve(bundle=uncalibrated_bundle_dir) as client:
        await client.post("/v1/passages", json=[{"id": "a", "text": "the hole"}])
        body = (await client.post("/v1/search", json=QUESTION)).json()

    assert body["hits"][0]["probability"] is None
    assert body["hits"][0]["probability_source"] == "uncalibrated"
    assert body["answerable_probability"] is None
    assert body["expected_relevant"] is None
    assert [warning["code"] for warning in body["warnings"]] == ["no_calibrator"]


@pytest.mark.parametrize("query", ["", "  \n "])
async def test_an_empty_query_is_refused(stocked, query):
    response = await stocked.post("/v1/search", json={"query": query})

    body = problem_of(response, 422, "invalid_query")
    assert pointers(body) == ["/query"]


async def test_a_query_of_100_kilobytes_is_refused_with_the_limit(stocked):
    response = await stocked.post("/v1/search", json={"query": "x" * 100_000})

    body = problem_of(response, 422, "invalid_query")
    assert str(MAX_QUERY_CHARACTERS) in body["detail"]
    assert "x" * 100 not in response.text


async def test_a_query_the_encoder_cannot_read_is_the_callers_problem(stocked):
    response = await stocked.post("/v1/search", json={"query": "!?"})

    problem_of(response, 422, "unencodable_text")


@pytest.mark.parametrize(
    ("request_body", "pointer"),
    [
        ({"query": "x", "limt": 3}, "/limt"),
        ({"query": "x", "limit": "3"}, "/limit"),
        ({"query": "x", "limit": True}, "/limit"),
        ({"query": "x", "language": {"documents": ["de"]}}, "/language/documents"),
        ({"query": "x", "language": {"passages": []}}, "/language/passages"),
        ({"query": "x", "rank_by": "luck"}, "/rank_by"),
        ({"query": 7}, "/query"),
        ({"limit": 3}, "/query"),
        ([], ""),
    ],
)
async def test_a_request_of_the_wrong_shape_is_refused_where_it_is_wrong(
    stocked, request_body, pointer
):
    response = await stocked.post("/v1/search", json=request_body)

    body = problem_of(response, 422, "invalid_request")
    assert pointers(body) == [pointer]


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"limit": 0}, "/limit"),
        ({"limit": 101}, "/limit"),
        ({"min_probability": 1.5}, "/min_probability"),
        ({"language": {"query": "not a tag"}}, "/language/query"),
        ({"language": {"candidates": ["de", "?"]}}, "/language/candidates/1"),
        ({"language": {"passages": ["de", "en", ""]}}, "/language/passages/2"),
    ],
)
async def test_a_value_out_of_range_is_refused_where_it_is_wrong(stocked, options, pointer):
    response = await stocked.post("/v1/search", json={**QUESTION, **options})

    body = problem_of(response, 422, "invalid_input")
    assert pointers(body) == [pointer]


async def test_every_problem_of_a_request_is_reported_at_once(stocked):
    response = await stocked.post("/v1/search", json={"limit": "3", "rank_by": "luck", "x": 1})

    body = problem_of(response, 422, "invalid_request")
    assert set(pointers(body)) == {"/query", "/limit", "/rank_by", "/x"}


async def test_nan_is_refused_as_no_json(stocked):
    response = await stocked.post(
        "/v1/search",
        content=b'{"query": "x", "min_probability": NaN}',
        headers={"Content-Type": "application/json"},
    )

    assert "NaN" in problem_of(response, 400, "malformed_json")["detail"]


async def test_a_number_too_large_for_a_float_is_refused(stocked):
    response = await stocked.post(
        "/v1/search",
        content=b'{"query": "x", "min_probability": 1e999}',
        headers={"Content-Type": "application/json"},
    )

    assert pointers(problem_of(response, 422, "invalid_request")) == ["/min_probability"]
