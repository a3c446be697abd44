from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from app.bootstrap import assemble
from app.core.feedback.service import FeedbackService
from app.main import RuntimeFactory
from tests.app.api.conftest import FEEDBACK_TOKENS, PASSAGES
from tests.app.api.keys import add_key, bearer
from tests.app.api.problems import problem_of
from tests.app.telemetry.samples import Samples
from tests.fakes import FakeEncoder, FakeLanguageIdentifier, InMemoryFeedbackLog, InMemoryStore

QUESTION = {"query": "how to find the hole in the tube", "language": {"query": "en"}}


async def search(client: httpx.AsyncClient, **options: object) -> Any:
    response = await client.post("/v1/search", json={**QUESTION, **options})
    assert response.status_code == 200, response.text
    return response.json()


async def send(client: httpx.AsyncClient, token: str, **said: object) -> Any:
    response = await client.post("/v1/feedback", json={"token": token, **said})
    assert response.status_code == 200, response.text
    return response.json()


async def metrics(client: httpx.AsyncClient) -> Samples:
    return Samples((await client.get("/metrics")).text)


async def test_a_label_counts_at_the_probability_that_was_stated(stocked):
    answer = await search(stocked)
    hit = answer["hits"][0]

    kept = await send(stocked, hit["feedback_token"], relevant=True)

    assert kept == {
        "status": "accepted",
        "reason": None,
        "query_id": answer["query_id"],
        "id": hit["id"],
        "relevant": True,
    }
    found = await metrics(stocked)
    counted = {"relation": "same", "bin": str(int(hit["probability"] * 10)), "source": "explicit"}
    counted["calibrator"] = answer["model"]["calibrator"]
    assert found.value("isoglot_feedback_hits_total", **counted) == 1
    assert found.value("isoglot_feedback_relevant_total", **counted) == 1
    stated = found.value("isoglot_feedback_probability_sum_total", **counted)
    assert stated == pytest.approx(hit["probability"], abs=1e-12)
    assert found.value("isoglot_feedback_delay_seconds_count", source="explicit") == 1
    assert found.total("isoglot_language_feedback_hits_total", query_lang="en") == 1


async def test_a_replay_counts_once_and_says_which_label_counts(stocked):
    token = (await search(stocked))["hits"][0]["feedback_token"]
    await send(stocked, token, relevant=False, source="judged")

    for said in ({"relevant": False, "source": "judged"}, {"relevant": True}, {"relevant": None}):
        again = await send(stocked, token, **said)
        assert (again["status"], again["relevant"]) == ("duplicate", False)

    found = await metrics(stocked)
    assert found.total("isoglot_feedback_hits_total") == 1
    assert found.total("isoglot_feedback_relevant_total") == 0
    assert found.value("isoglot_feedback_rejected_total", reason="duplicate") == 3


SUMS = ("hits", "relevant", "probability_sum", "variance_sum", "brier_sum")


async def sums(client: httpx.AsyncClient, kind: str = "", **labels: str) -> list[float]:
    found = await metrics(client)
    return [found.total(f"isoglot_{kind}feedback_{name}_total", **labels) for name in SUMS]


async def test_a_label_that_was_a_mistake_leaves_the_sums(serve):
    """Whoever errs and mends it is counted in the end like whoever did not err."""
    counted = []
    for mistakes in (True, False):
        async with serve() as client:
            await client.post("/v1/passages", json=PASSAGES)
            first, second = [await search(client) for _ in range(2)]
            token = first["hits"][0]["feedback_token"]
            if mistakes:
                await send(client, token, relevant=False)
                await send(client, token, relevant=True)
                back = await send(client, token, relevant=None)
                assert (back["status"], back["relevant"]) == ("accepted", None)
                found = await metrics(client)
                for change in ("changed", "withdrawn"):
                    assert found.value("isoglot_feedback_revised_total", change=change) == 1
            await send(client, second["hits"][0]["feedback_token"], relevant=True)
            counted.append([await sums(client), await sums(client, "language_")])

    for mended, right in zip(*counted, strict=True):
        assert mended[0] == 1
        # The wrong label's error is set off against later ones; all else is right at once.
        assert mended[:4] == pytest.approx(right[:4])


async def test_an_assessor_who_confirms_a_label_moves_it_to_their_own(stocked):
    token = (await search(stocked))["hits"][0]["feedback_token"]
    await send(stocked, token, relevant=True)
    await send(stocked, token, relevant=True, source="judged")

    assert (await sums(stocked, source="judged"))[:2] == [1, 1]
    another = (await search(stocked))["hits"][0]["feedback_token"]
    await send(stocked, another, relevant=True)
    assert (await sums(stocked, source="explicit"))[:2] == [1, 1]  # two, and one moved on


async def test_a_click_is_never_a_label(stocked):
    hit = (await search(stocked))["hits"][1]

    kept = await send(stocked, hit["feedback_token"], source="click")

    assert (kept["status"], kept["relevant"]) == ("accepted", None)
    found = await metrics(stocked)
    assert found.value("isoglot_feedback_clicks_total", position="2-5") == 1
    assert found.total("isoglot_feedback_hits_total") == 0
    await send(stocked, hit["feedback_token"], relevant=True)
    assert (await metrics(stocked)).total("isoglot_feedback_hits_total") == 1


async def test_a_forged_token_is_refused_and_counted(stocked):
    token = (await search(stocked))["hits"][0]["feedback_token"]
    forged = token[:-1] + ("A" if token[-1] != "A" else "Q")

    response = await stocked.post("/v1/feedback", json={"token": forged, "relevant": True})

    problem = problem_of(response, 422, "feedback_rejected")
    assert problem["errors"][0]["pointer"] == "/token"
    found = await metrics(stocked)
    assert found.value("isoglot_feedback_rejected_total", reason="forged") == 1
    assert found.total("isoglot_feedback_hits_total") == 0


async def test_an_expired_token_is_refused_and_counted(stocked, monkeypatch):
    token = (await search(stocked))["hits"][0]["feedback_token"]
    now = FEEDBACK_TOKENS.now()
    monkeypatch.setattr(FEEDBACK_TOKENS, "_clock", lambda: now + 3602)

    response = await stocked.post("/v1/feedback", json={"token": token, "relevant": True})

    assert "too old" in problem_of(response, 422, "feedback_rejected")["detail"]
    found = await metrics(stocked)
    assert found.value("isoglot_feedback_rejected_total", reason="expired") == 1


async def test_a_batch_reports_each_item_in_its_place(stocked):
    first, second, _ = (hit["feedback_token"] for hit in (await search(stocked))["hits"])
    items = [
        {"token": first, "relevant": True, "source": "judged"},
        {"token": "x", "relevant": True},
        {"token": second, "source": "click"},
        {"token": first, "relevant": True},
    ]

    response = await stocked.post("/v1/feedback:batch", json={"feedback": items})

    body = response.json()
    assert [r["status"] for r in body["results"]] == [
        "accepted",
        "rejected",
        "accepted",
        "duplicate",
    ]
    assert body["results"][1]["reason"] == "forged"
    assert (body["accepted"], body["duplicates"], body["rejected"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/feedback", {"token": "x"}, "/relevant"),
        ("/v1/feedback", {"token": "x", "relevant": True, "source": "click"}, "/relevant"),
        ("/v1/feedback", {"token": "x", "relevant": "yes"}, "/relevant"),
        ("/v1/feedback", {"relevant": True}, "/token"),
        ("/v1/feedback:batch", {"feedback": []}, "/feedback"),
        ("/v1/feedback:batch", {"feedback": [{"token": "x"}]}, "/feedback/0/relevant"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_place(client, path, body, pointer):
    response = await client.post(path, json=body)

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer


async def test_pages_of_a_cursor_carry_tokens_too(stocked):
    first = await search(stocked, limit=1)
    second = await search(stocked, limit=1, cursor=first["page"]["next_cursor"])

    token = second["hits"][0]["feedback_token"]

    assert (await send(stocked, token, relevant=True))["query_id"] == first["query_id"]


async def test_without_a_calibrator_there_is_nothing_to_judge(serve, uncalibrated_bundle_dir):
    async with serve(bundle=uncalibrated_bundle_dir) as client:
        await client.post("/v1/passages", json=PASSAGES)
        found = await search(client, rank_by="score")

    assert [hit["feedback_token"] for hit in found["hits"]] == [None, None, None]
    assert found["hits"][0]["score"] > 0


async def test_a_tenant_judges_its_own_hits_alone(serve, key_file):
    tenant = ("search", "ingest", "feedback")
    acme = bearer(add_key(key_file, *tenant, tenant="acme"))
    other = bearer(add_key(key_file, *tenant, tenant="other"))
    searcher, judge = bearer(add_key(key_file, "search")), bearer(add_key(key_file, "feedback"))
    async with serve(key_file=key_file) as client:
        await client.post("/v1/passages", json=PASSAGES, headers=acme)
        found = (await client.post("/v1/search", json=QUESTION, headers=acme)).json()
        said = {"token": found["hits"][0]["feedback_token"], "relevant": True}

        stolen = await client.post("/v1/feedback", json=said, headers=other)
        unscoped = await client.post("/v1/feedback", json=said, headers=searcher)
        own = await client.post("/v1/feedback", json=said, headers=acme)
        judged = await client.post("/v1/feedback", json=said, headers=judge)

    assert "another tenant" in problem_of(stolen, 422, "feedback_rejected")["detail"]
    problem_of(unscoped, 403, "missing_scope")
    assert own.json()["status"] == "accepted"
    assert judged.json()["status"] == "duplicate"


def runtime_with(desk: FeedbackService | None) -> RuntimeFactory:
    @asynccontextmanager
    async def runtime(settings, bundle, measured):
        parts = (FakeEncoder(), InMemoryStore(), FakeLanguageIdentifier())
        async with assemble(settings, bundle, *parts, measured, desk) as opened:
            yield opened

    return runtime


async def test_a_service_that_cannot_keep_feedback_still_searches(serve):
    async with serve(runtime_factory=runtime_with(None)) as client:
        await client.post("/v1/passages", json=PASSAGES)
        found = await search(client)
        response = await client.post("/v1/feedback", json={"token": "x", "relevant": True})

    assert found["hits"][0]["feedback_token"] is None
    problem_of(response, 503, "feedback_log_error")


async def test_feedback_that_was_not_kept_is_not_acknowledged_and_not_counted(serve):
    log = InMemoryFeedbackLog()
    desk = FeedbackService(FEEDBACK_TOKENS, log)
    async with serve(runtime_factory=runtime_with(desk)) as client:
        await client.post("/v1/passages", json=PASSAGES)
        token = (await search(client))["hits"][0]["feedback_token"]
        await log.close()
        response = await client.post("/v1/feedback", json={"token": token, "relevant": True})
        found = await metrics(client)

    problem_of(response, 503, "feedback_log_error")
    assert found.total("isoglot_feedback_hits_total") == 0
