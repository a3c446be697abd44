"""What clients of other services expect. The shapes are those of their documentation."""

from __future__ import annotations

import asyncio
import base64
import warnings
from typing import Any

import httpx
import numpy as np
import pytest

from app.api.routes.compatibility import EMBEDDING_REQUESTS, RERANK_REQUESTS
from app.core.search.embeddings import MAX_TEXTS
from app.core.search.reranking import MAX_DOCUMENTS
from tests.app.api.problems import pointers, problem_of
from tests.fakes import FAKE_DIM, FakeEncoder

HOLE = "how to find the hole in an inner tube"
BREAD = "sourdough bread needs a starter of flour and water"
DOCUMENTS = [BREAD, HOLE, "the tide of the sea"]


async def embed(client: httpx.AsyncClient, **body: object) -> Any:
    response = await client.post("/v1/embeddings", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def rerank(client: httpx.AsyncClient, **body: object) -> Any:
    response = await client.post("/v1/rerank", json={"documents": DOCUMENTS, **body})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("name", EMBEDDING_REQUESTS)
async def test_every_example_of_an_embedding_is_answered(client, name):
    assert (await embed(client, **EMBEDDING_REQUESTS[name]["value"]))["data"]


@pytest.mark.parametrize("name", RERANK_REQUESTS)
async def test_every_example_of_a_ranking_is_answered(client, name):
    assert (await rerank(client, **RERANK_REQUESTS[name]["value"]))["results"]


async def test_an_embedding_has_the_form_of_openai_and_the_vector_of_the_encoder(client):
    answer = await embed(client, input=HOLE, model="text-embedding-3-small", user="u")

    assert answer["object"] == "list"
    (item,) = answer["data"]
    assert (item["object"], item["index"]) == ("embedding", 0)
    np.testing.assert_array_equal(
        np.array(item["embedding"], np.float32), FakeEncoder().encode_passages([HOLE])[0]
    )
    assert answer["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    assert answer["model"] == (await client.get("/health/ready")).json()["model"]["bundle"]


async def test_the_order_of_many_texts_is_kept(client):
    texts = [f"text number {n}" for n in range(150)]
    data = (await embed(client, input=texts))["data"]

    assert [item["index"] for item in data] == list(range(150))
    expected = FakeEncoder().encode_passages(texts)
    found = np.array([item["embedding"] for item in data], np.float32)
    np.testing.assert_array_equal(found, expected)


async def test_base64_holds_the_same_numbers_as_little_endian_floats(client):
    texts = [HOLE, BREAD]
    packed = await embed(client, input=texts, encoding_format="base64")
    plain = await embed(client, input=texts)

    for short, long in zip(packed["data"], plain["data"], strict=True):
        raw = base64.b64decode(short["embedding"], validate=True)
        np.testing.assert_array_equal(np.frombuffer(raw, "<f4"), np.float32(long["embedding"]))
    assert packed["usage"] == plain["usage"]


@pytest.mark.parametrize("count", [1, 130])
async def test_queries_are_embedded_as_queries(client, monkeypatch, count):
    seen: list[str] = []

    def as_queries(self, texts):
        seen.extend(texts)
        return self.encode_passages(texts)

    monkeypatch.setattr(FakeEncoder, "encode_queries", as_queries)
    texts = [f"{HOLE} {number}" for number in range(count)]
    await embed(client, input=texts)
    assert seen == []
    await embed(client, input=texts, input_type="query")
    assert seen == texts


async def test_the_dimension_can_be_named_but_not_changed(client):
    assert len((await embed(client, input=HOLE, dimensions=FAKE_DIM))["data"]) == 1

    response = await client.post("/v1/embeddings", json={"input": HOLE, "dimensions": 8})
    body = problem_of(response, 422, "invalid_input")
    assert pointers(body) == ["/dimensions"]
    assert str(FAKE_DIM) in body["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"input": []}, "/input"),
        ({"input": ["text"] * (MAX_TEXTS + 1)}, "/input"),
        ({"input": ["text", " "]}, "/input/1"),
        ({"input": "x" * 50_001}, "/input/0"),
        ({"input": [[1, 2, 3]]}, "/input"),
        ({"input": "x", "encoding_format": "int8"}, "/encoding_format"),
        ({"input": "x", "late_chunking": True}, "/late_chunking"),
        ({}, "/input"),
    ],
)
async def test_what_cannot_be_embedded_is_pointed_to(client, body, pointer):
    response = await client.post("/v1/embeddings", json=body)

    assert response.status_code == 422
    assert pointers(response.json()) == [pointer]


async def test_a_text_that_the_encoder_does_not_know_is_an_error(client):
    response = await client.post("/v1/embeddings", json={"input": "!?"})

    problem_of(response, 422, "unencodable_text")


async def test_a_ranking_has_the_form_of_cohere_and_jina(client):
    answer = await rerank(client, query=f"{HOLE} please", model="rerank-v3.5", top_n=2)

    assert answer["results"][0]["index"] == 1
    assert len(answer["results"]) == 2
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    assert all(result["document"] is None for result in answer["results"])
    assert answer["usage"]["total_tokens"] > 20
    assert answer["id"]


async def test_documents_may_be_objects_and_come_back_if_asked_for(client):
    objects = [{"text": text} for text in DOCUMENTS]
    plain = await rerank(client, query="the hole")
    answer = await rerank(client, query="the hole", documents=objects, return_documents=True)

    for one, other in zip(plain["results"], answer["results"], strict=True):
        assert other["document"] == {"text": DOCUMENTS[other["index"]]}
        assert {**other, "document": None} == one


async def test_the_probability_is_that_of_a_search_in_a_corpus_of_these_documents(client):
    rows = [{"id": str(n), "text": text} for n, text in enumerate(DOCUMENTS)]
    assert (await client.post("/v1/passages", json=rows)).status_code == 200
    hits = (await client.post("/v1/search", json={"query": "where is the hole"})).json()["hits"]
    results = (await rerank(client, query="where is the hole"))["results"]

    assert [str(result["index"]) for result in results] == [hit["id"] for hit in hits]
    for result, hit in zip(results, hits, strict=True):
        assert result["relevance_score"] == pytest.approx(hit["probability"], abs=1e-6)
        assert result["score"] == pytest.approx(hit["score"], abs=1e-6)
        for member in ("probability_source", "extrapolated"):
            assert result[member] == hit[member]
        assert result["language"] == hit["language"]["code"]


async def test_neither_cut_nor_order_of_the_documents_changes_a_probability(client):
    whole = await rerank(client, query="the hole")
    cut = await rerank(client, query="the hole", top_n=1)
    turned = await rerank(client, query="the hole", documents=DOCUMENTS[::-1])

    assert cut["results"] == whole["results"][:1]
    assert [r["relevance_score"] for r in turned["results"]] == pytest.approx(
        [r["relevance_score"] for r in whole["results"]], abs=1e-9
    )


async def test_fewer_documents_than_the_calibrator_knows_are_extrapolated(client):
    query = "how to find the hole of the sea"
    few = await rerank(client, query=query, documents=[HOLE])
    enough = await rerank(client, query=query)

    assert few["results"][0]["extrapolated"]
    (same,) = [result for result in enough["results"] if result["index"] == 1]
    assert not same["extrapolated"]
    assert same["score"] == pytest.approx(few["results"][0]["score"], abs=1e-6)


async def test_a_stated_language_is_believed(client):
    answer = await rerank(client, query="hole", language="en", documents=[HOLE, BREAD, HOLE])

    assert {r["probability_source"] for r in answer["results"]} <= {"relation:same", "pooled"}


async def test_a_language_stated_as_unknown_is_not_guessed(client):
    answer = await rerank(client, query="where is the hole", language="und")

    assert {r["probability_source"] for r in answer["results"]} == {"pooled"}


async def test_without_calibrator_nothing_is_ranked_and_nothing_made_up(
    serve, uncalibrated_bundle_dir
):
    async with serve(bundle=uncalibrated_bundle_dir) as client:
        response = await client.post(
            "/v1/rerank", json={"query": "the hole", "documents": DOCUMENTS}
        )
    body = problem_of(response, 422, "invalid_input")
    assert "calibrator" in body["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"query": " "}, "/query"),
        ({"query": "x" * 4097}, "/query"),
        ({"query": "x", "documents": []}, "/documents"),
        ({"query": "x", "documents": ["text"] * (MAX_DOCUMENTS + 1)}, "/documents"),
        ({"query": "x", "documents": ["text", ""]}, "/documents/1"),
        ({"query": "x", "documents": ["text", 1]}, "/documents/1"),
        ({"query": "x", "documents": [{"txt": "text"}]}, "/documents/0"),
        ({"query": "x", "documents": [{"text": "text", "title": "t"}]}, "/documents/0"),
        ({"query": "x", "top_n": 0}, "/top_n"),
        ({"query": "x", "language": "not a tag"}, "/language"),
        ({"query": "x", "max_chunks_per_doc": 3}, "/max_chunks_per_doc"),
    ],
)
async def test_what_cannot_be_ranked_is_pointed_to(client, body, pointer):
    response = await client.post("/v1/rerank", json={"documents": DOCUMENTS, **body})

    assert response.status_code == 422
    assert pointers(response.json()) == [pointer]


async def test_the_client_of_openai_understands_the_answers(make_app):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other library
        openai = pytest.importorskip("openai")
    app = make_app()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app):
        while not app.state.api.readiness.is_ready:  # noqa: ASYNC110  only tests wait for it
            await asyncio.sleep(0.005)
        async with openai.AsyncOpenAI(
            base_url="http://isoglot/v1",
            api_key="none",
            http_client=httpx.AsyncClient(transport=transport),
        ) as service:
            answer = await service.embeddings.create(input=[HOLE, BREAD], model="any")
            with pytest.raises(openai.UnprocessableEntityError):
                await service.embeddings.create(input=HOLE, model="any", dimensions=8)
    expected = FakeEncoder().encode_passages([HOLE, BREAD])
    np.testing.assert_array_equal(
        np.array([d.embedding for d in answer.data], np.float32), expected
    )
    assert answer.usage.total_tokens == 18
