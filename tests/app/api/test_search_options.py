"""What a search can ask for beyond a question: filters, order, cuts, pages, reasons, time."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from app.bootstrap import Runtime, assemble
from app.core.bundle import Bundle
from app.core.ports import ServedEncoder
from app.core.types import VectorArray
from app.main import RuntimeFactory
from app.settings import Settings
from app.telemetry.metrics import Metrics
from tests.app.api.answers import hits_of
from tests.app.api.problems import pointers, problem_of
from tests.app.telemetry.samples import Samples
from tests.fakes import FakeEncoder, FakeLanguageIdentifier, InMemoryStore

QUESTION = {"query": "how to find the hole in the tube"}
MANY = [
    {
        "id": f"p{n:02}",
        "text": f"the tube number {n % 7}",
        "language": ("de", "en", "pt-BR")[n % 3],
        "parallel_id": f"group{n // 3}",
    }
    for n in range(30)
]


@pytest.fixture
async def full(client):
    """A service that holds ``MANY``."""
    assert (await client.post("/v1/passages", json=MANY)).status_code == 200
    return client


def runtime_with(encoder: ServedEncoder) -> RuntimeFactory:
    """Opens a service with an encoder and a store of its own."""

    @asynccontextmanager
    async def runtime(
        settings: Settings, bundle: Bundle, metrics: Metrics
    ) -> AsyncIterator[Runtime]:
        store, languages = InMemoryStore(), FakeLanguageIdentifier()
        async with assemble(settings, bundle, encoder, store, languages) as opened:
            yield opened

    return runtime


async def search(
    client: httpx.AsyncClient, headers: dict[str, str] | None = None, **options: object
) -> Any:
    response = await client.post("/v1/search", json={**QUESTION, **options}, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_filter_restricts_what_is_eligible(full):
    found = await search(
        full,
        filter={"must": [{"key": "parallel_id", "match": {"any": ["group1", "group2"]}}]},
        diagnostics=["language"],
    )
    assert {hit["parallel_id"] for hit in found["hits"]} == {"group1", "group2"}
    assert found["diagnostics"]["language"]["filtered_corpus_size"] == 6
    assert found["page"]["relation"] == "eq"


@pytest.mark.parametrize(
    ("bad", "pointer"),
    [
        ({"must": [{"key": "colour", "match": {"value": "red"}}]}, "/filter/must/0/key"),
        ({"musst": []}, "/filter/musst"),
    ],
)
async def test_a_malformed_filter_is_refused_where_it_is_malformed(full, bad, pointer):
    response = await full.post("/v1/search", json={**QUESTION, "filter": bad})
    assert pointers(problem_of(response, 400, "malformed_filter")) == [pointer]


async def test_weights_order_hits_and_show_in_the_explanation(full):
    plain = await search(full, limit=30)
    preferred = await search(
        full, limit=30, language={"mode": "prefer", "prefer": {"pt": 1, "*": 0}}, explain="basic"
    )
    assert [hit["language"]["code"] for hit in preferred["hits"][:10]] == ["pt-BR"] * 10
    assert {h["id"]: h["probability"] for h in preferred["hits"]} == {
        h["id"]: h["probability"] for h in plain["hits"]
    }
    best = preferred["hits"][0]["explanation"]
    assert best["language_weight"] == 1
    assert best["rank_after"] == 1
    assert best["heads"] == []
    ranks = {
        hit["id"]: hit["rank"] for hit in (await search(full, limit=30, rank_by="score"))["hits"]
    }
    assert best["rank_before"] == ranks[preferred["hits"][0]["id"]]


async def test_the_accept_language_header_gives_the_weights_where_the_body_has_none(full):
    header = {"Accept-Language": "de-CH, de;q=0.9, *;q=0.01"}
    language = {"mode": "prefer"}
    by_header = await search(full, limit=30, headers=header, language=language)
    assert [hit["language"]["code"] for hit in by_header["hits"][:10]] == ["de"] * 10
    stated = {"mode": "prefer", "prefer": {"en": 1}}
    by_body = await search(full, limit=30, headers=header, language=stated)
    assert by_body["hits"][0]["language"]["code"] == "en"
    ignored = await search(full, limit=30, headers=header)
    assert hits_of(ignored) == hits_of(await search(full, limit=30))


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"language": {"mode": "prefer"}}, "/language/prefer"),
        ({"language": {"prefer": {"de": 1}}}, "/language/prefer"),
        ({"language": {"mode": "prefer", "prefer": {"de": 2}}}, "/language/prefer/de"),
        ({"language": {"mode": "prefer", "prefer": {"a b": 1}}}, "/language/prefer/a b"),
        ({"offset": 95}, "/offset"),
        ({"candidates": 10}, "/candidates"),
        ({"target_precision": 0.5, "min_probability": 0.5}, "/target_precision"),
        ({"timeout_ms": 0}, "/timeout_ms"),
    ],
)
async def test_options_that_cannot_be_used_are_refused_where_they_are_wrong(full, options, pointer):
    response = await full.post("/v1/search", json={**QUESTION, **options})
    assert pointers(problem_of(response, 422, "invalid_input")) == [pointer]


async def test_balance_answers_with_every_language(full):
    found = await search(full, limit=30, language={"mode": "balance"})
    assert {hit["language"]["code"] for hit in found["hits"]} == {"de", "en", "pt-BR"}
    plain = await search(full, limit=30)
    assert hits_of(found) == hits_of(plain)


async def test_a_target_precision_is_the_mean_probability_that_is_kept(full):
    everything = await search(full, limit=30)
    stated = [hit["probability"] for hit in everything["hits"]]
    target = sum(stated[:7]) / 7
    kept = await search(full, limit=30, target_precision=target, diagnostics=["calibration"])
    assert len(kept["hits"]) >= 7
    assert kept["diagnostics"]["calibration"]["mean_probability"] >= target - 1e-9
    assert kept["page"]["dropped_by_target_precision"] == 30 - len(kept["hits"])


async def test_pages_by_cursor_are_the_pages_by_offset(full):
    by_offset = [await search(full, limit=8, offset=offset) for offset in (0, 8, 16, 24)]
    by_cursor, cursor = [], None
    while True:
        by_cursor.append(await search(full, limit=8, cursor=cursor))
        cursor = by_cursor[-1]["page"]["next_cursor"]
        if cursor is None:
            break
    assert [hits_of(page) for page in by_cursor] == [hits_of(page) for page in by_offset]
    assert [page["page"]["offset"] for page in by_cursor] == [0, 8, 16, 24]
    assert len({page["query_id"] for page in by_cursor}) == 1
    assert by_offset[-1]["page"]["returned"] == 6
    assert [hit["rank"] for hit in by_offset[1]["hits"]] == list(range(9, 17))


async def test_a_garbled_cursor_is_400_and_one_of_another_service_410(full, serve):
    cursor = (await search(full, limit=8))["page"]["next_cursor"]
    garbled = await full.post("/v1/search", json={**QUESTION, "cursor": cursor[:-2]})
    assert pointers(problem_of(garbled, 400, "invalid_cursor")) == ["/cursor"]
    foreign = await full.post("/v1/search", json={"query": "another", "cursor": cursor})
    assert "another search" in problem_of(foreign, 400, "invalid_cursor")["detail"]
    async with serve(runtime_factory=runtime_with(FakeEncoder())) as elsewhere:
        gone = await elsewhere.post("/v1/search", json={**QUESTION, "limit": 8, "cursor": cursor})
        problem_of(gone, 410, "cursor_expired")


async def test_highlights_are_where_words_of_the_query_stand(stocked):
    found = await search(stocked, include=["text", "highlights"])
    by_id = {hit["id"]: hit for hit in found["hits"]}
    english = by_id["puncture.en"]
    words = [english["text"][place["start"] : place["end"]] for place in english["highlights"]]
    assert words == ["how", "to", "find", "the", "hole", "in", "tube"]
    assert english["metadata"] is None
    assert by_id["puncture.de"]["highlights"] == []
    assert (await search(stocked))["hits"][0]["highlights"] is None


async def test_a_full_explanation_adds_up_to_the_probability(stocked):
    found = await search(stocked, explain="full")
    for hit in found["hits"]:
        said = hit["explanation"]
        assert said["calibrator"] == found["model"]["calibrator"]
        assert sum(h["share"] * h["probability"] for h in said["heads"]) == pytest.approx(
            hit["probability"]
        )
        for head in said["heads"]:
            added = sum(term["contribution"] for term in head["terms"])
            assert head["intercept"] + added == pytest.approx(head["logit"])


async def test_without_calibrator_the_explanation_has_ranks_alone(serve, uncalibrated_bundle_dir):
    async with serve(bundle=uncalibrated_bundle_dir) as client:
        await client.post("/v1/passages", json=MANY)
        found = await search(client, explain="full", diagnostics=["calibration"])
    assert found["hits"][0]["explanation"] == {
        "calibrator": None,
        "rank_before": 1,
        "lexical_rank": None,
        "fusion": None,
        "rank_after": 1,
        "language_weight": 1.0,
        "heads": [],
    }
    assert found["diagnostics"]["calibration"] is None


async def test_calibration_diagnostics_say_what_the_probabilities_rest_on(full):
    found = await search(full, limit=4, diagnostics=["calibration"])
    said = found["diagnostics"]["calibration"]
    assert said["calibrator"] == found["model"]["calibrator"]
    assert said["background_ranks"] == [21, 60]
    assert said["corpus_size"] == 30
    assert said["mean_probability"] == pytest.approx(found["expected_relevant"] / 4)
    empty = await search(full, min_probability=1.0, diagnostics=["calibration"])
    assert empty["diagnostics"]["calibration"]["mean_probability"] is None


async def test_language_diagnostics_name_the_score_offset_of_each_pair(full):
    found = await search(full, language={"query": "de"}, diagnostics=["language"])
    assert set(found["diagnostics"]["language"]["score_offset"]) <= {"de>en", "de>pt"}
    assert found["diagnostics"]["language"]["score_offset"]


async def test_every_stage_is_in_the_server_timing(full):
    response = await full.post("/v1/search", json=QUESTION)
    for stage in ("language", "encode", "search", "calibrate", "page", "total"):
        assert f"{stage};dur=" in response.headers["server-timing"]


class SlowEncoder(FakeEncoder):
    """Takes its time over queries."""

    def encode_queries(self, texts: Sequence[str]) -> VectorArray:
        time.sleep(0.15)
        return super().encode_queries(texts)


async def test_a_search_out_of_time_is_504_or_declared_degraded(serve):
    async with serve(runtime_factory=runtime_with(SlowEncoder())) as client:
        late = await client.post("/v1/search", json={**QUESTION, "timeout_ms": 10})
        assert "10 ms" in problem_of(late, 504, "deadline_exceeded")["detail"]
        found = await search(client, timeout_ms=10, on_timeout="degraded")
        counted = Samples((await client.get("/metrics")).text)
    assert found["outcome"] == "degraded"
    assert found["hits"] == []
    assert found["answerable_probability"] is None
    assert [warning["code"] for warning in found["warnings"]] == ["timeout"]
    assert counted.total("isoglot_queries_total", decision="degraded") == 1
