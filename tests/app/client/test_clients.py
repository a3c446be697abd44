from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import client as package
from app.api.schemas import answer as answer_schemas
from app.api.schemas import common as schemas
from app.api.schemas import search as search_schemas
from app.client import (
    AsyncIsoglot,
    AuthenticationError,
    ConnectionFailedError,
    IncompleteAnswerError,
    InvalidRequestError,
    Isoglot,
    NotAllowedError,
    NotFoundError,
    Passage,
    RateLimitedError,
    Retries,
    ServiceError,
    UnavailableError,
    calls,
    results,
)
from tests.app.api.keys import add_key

TIDE: Passage = {
    "id": "tide/1",
    "text": "the tide of the sea",
    "language": "en",
    "metadata": {"n": 1},
}
WHEEL: Passage = {"id": "wheel", "text": "the wheel of a bicycle", "language": "en"}
BROKEN: Passage = {"id": "", "text": "no id"}


@pytest.fixture
def service(running):
    with running() as transport, Isoglot("http://isoglot", transport=transport) as opened:
        yield opened


def test_passages_are_stored_found_and_deleted(service):
    report = service.passages.upsert([TIDE, BROKEN, WHEEL])
    assert (report.received, report.stored) == (3, 2)
    (rejected,) = report.rejected
    assert (rejected.line, rejected.status) == (2, "rejected")
    assert rejected.error is not None
    again = service.passages.upsert([TIDE, {**WHEEL, "text": "another wheel"}])
    assert (again.created, again.updated, again.unchanged) == (0, 1, 1)

    found = service.search("the tide", limit=1, language={"query": "en"}, include=["text"])
    assert found.outcome == "ok"
    (hit,) = found.hits
    assert (hit.id, hit.text, hit.metadata) == ("tide/1", TIDE["text"], None)
    assert hit.probability is not None
    assert found.query_language.source == "declared"

    assert service.passages.get("tide/1").metadata == {"n": 1}
    service.passages.delete("tide/1")
    with pytest.raises(NotFoundError, match="tide/1") as gone:
        service.passages.get("tide/1")
    assert gone.value.code == "passage_not_found"
    assert gone.value.request_id


def test_a_batch_answers_each_search_on_its_own(service):
    service.passages.upsert([TIDE, WHEEL])
    first, second, third = service.search_batch(
        ["the tide", {"query": " "}, {"query": "wheel of a bicycle", "limit": 1}]
    )

    assert first.response is not None
    assert first.response.hits[0].id == "tide/1"
    assert second.response is None
    assert second.problem is not None
    assert (second.status, second.problem.code) == (422, "invalid_query")
    assert third.response is not None
    assert [hit.id for hit in third.response.hits] == ["wheel"]


def test_feedback_is_sent_with_the_token_of_a_hit(service):
    service.passages.upsert([TIDE, WHEEL])
    first, second = service.search("the tide", limit=2).hits

    assert service.feedback(first.feedback_token, relevant=True).status == "accepted"
    assert service.feedback(first.feedback_token, relevant=False).relevant is False
    assert service.withdraw_feedback(first.feedback_token).status == "accepted"
    assert service.withdraw_feedback(first.feedback_token).status == "duplicate"
    with pytest.raises(InvalidRequestError, match="relevant"):
        service.feedback(first.feedback_token)
    with pytest.raises(InvalidRequestError) as refused:
        service.feedback("made up", relevant=True)
    assert refused.value.code == "feedback_rejected"
    batch = service.feedback_batch(
        [
            {"token": second.feedback_token, "relevant": False, "source": "judged"},
            {"token": second.feedback_token, "source": "click"},
            {"token": "made up", "relevant": True},
        ]
    )
    assert [receipt.status for receipt in batch] == ["accepted", "accepted", "rejected"]
    assert (batch[0].id, batch[2].reason) == (second.id, "forged")


def test_the_document_of_the_calibrator_is_returned_whole(service, bundle_dir):
    document = service.calibration_document()
    assert document == json.loads((bundle_dir / "calibrator.json").read_text())


def test_a_document_that_is_none_is_an_error(monkeypatch):
    script = Script(monkeypatch, httpx.Response(200, text="[]"))

    with pytest.raises(IncompleteAnswerError, match="as this version"):
        script.service().calibration_document()


def test_pages_follow_each_other_by_cursor(service):
    service.passages.upsert({**TIDE, "id": str(n), "text": f"tide {n}"} for n in range(7))
    seen: list[str] = []
    cursor = None
    while True:
        page = service.search("tide", limit=3, cursor=cursor)
        seen += [hit.id for hit in page.hits]
        cursor = page.page.next_cursor
        if cursor is None:
            break
    assert sorted(seen) == [str(n) for n in range(7)]


def test_uploads_are_sent_in_pieces_and_numbered_as_one(service, monkeypatch):
    monkeypatch.setattr(calls, "LINES_A_REQUEST", 2)
    rows: list[Passage] = [{"id": str(n), "text": "the wheel"} for n in range(4)]
    rows.append(BROKEN)
    read = 0

    def stream() -> Iterator[Passage]:
        nonlocal read
        for row in rows:
            read += 1
            yield row

    each = service.passages.upsert_each(stream())
    assert next(each).line == 1
    assert read == 2  # no more is read than is sent
    rest = list(each)
    assert [line.line for line in rest] == [2, 3, 4, 5]
    assert [line.is_stored for line in rest] == [True, True, True, False]


def test_nothing_to_store_is_no_request():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise AssertionError("something was sent")

    with Isoglot(transport=httpx.MockTransport(refuse)) as service:
        assert service.passages.upsert([]).received == 0


def test_an_impossible_request_says_what_is_wrong(service):
    with pytest.raises(InvalidRequestError, match="limit") as refused:
        service.search("the tide", limit=0)
    assert refused.value.status == 422
    assert refused.value.items[0].pointer == "/limit"


def test_health_says_what_answers(service):
    service.passages.upsert([TIDE])
    health = service.health()

    assert health.is_ready
    assert health.passages == 1
    assert health.model is not None
    assert health.model.collection == "passages"


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (httpx.Response(503, json={"detail": "The service is starting."}), "starting"),
        (httpx.Response(503, text="<html>"), "Service Unavailable"),
    ],
)
def test_a_service_that_is_not_ready_is_no_error(answer, detail):
    with Isoglot(transport=httpx.MockTransport(lambda _: answer)) as service:
        health = service.health()
    assert not health.is_ready
    assert detail in health.detail


def test_a_service_that_is_not_there_is_not_ready():
    with Isoglot("http://127.0.0.1:9", retries=Retries(attempts=1)) as service:
        assert not service.health().is_ready
        with pytest.raises(
            ConnectionFailedError, match=r"from http://127\.0\.0\.1:9/.*does it run"
        ):
            service.search("x")


def test_keys_are_sent_and_refusals_are_told_apart(running, tmp_path):
    key_file = tmp_path / "keys.json"
    searching = add_key(key_file, "search")
    with running(key_file=key_file) as transport:
        with Isoglot("http://isoglot", transport=transport, api_key=searching) as service:
            assert service.search("the tide").outcome == "no_confident_match"
            with pytest.raises(NotAllowedError, match="ingest"):
                service.passages.upsert([TIDE])
        with (
            Isoglot("http://isoglot", transport=transport) as service,
            pytest.raises(AuthenticationError),
        ):
            service.search("the tide")


class Script:
    """Answers with one response after the other, and remembers how long was waited."""

    def __init__(self, monkeypatch, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.waits: list[float] = []
        monkeypatch.setattr("time.sleep", self.waits.append)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    def service(self, **options: Any) -> Isoglot:
        retries = Retries(draw=lambda: 1.0, **options)
        return Isoglot(transport=httpx.MockTransport(self), retries=retries)


STORED = {"id": "a", "text": "b", "language": "en"}


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_tried_again_with_growing_pauses(monkeypatch, status):
    script = Script(monkeypatch, *[httpx.Response(status)] * 3, httpx.Response(200, json=STORED))

    assert script.service().passages.get("a").text == "b"
    assert script.waits == [0.25, 0.5, 1.0]


def test_a_broken_connection_is_tried_again(monkeypatch):
    script = Script(monkeypatch, httpx.ReadTimeout("slow"), httpx.Response(200, json=STORED))

    assert script.service().passages.get("a").text == "b"


def test_the_service_is_given_the_time_it_asks_for(monkeypatch):
    limited = httpx.Response(429, headers={"Retry-After": "7"})
    script = Script(monkeypatch, limited, httpx.Response(200, json=STORED))

    script.service().passages.get("a")
    assert script.waits == [7.25]


def test_a_service_that_asks_for_too_much_time_is_not_asked_again(monkeypatch):
    script = Script(monkeypatch, httpx.Response(429, headers={"Retry-After": "3600"}))

    with pytest.raises(RateLimitedError) as refused:
        script.service().passages.get("a")
    assert refused.value.retry_after == 3600
    assert script.asked == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(503), UnavailableError),
        (httpx.ConnectError("refused"), ConnectionFailedError),
    ],
)
def test_patience_ends(monkeypatch, answer, error):
    script = Script(monkeypatch, answer)

    with pytest.raises(error):
        script.service(attempts=3).passages.get("a")
    assert script.asked == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 500, 599])
def test_what_will_not_pass_is_not_tried_again(monkeypatch, status):
    script = Script(monkeypatch, httpx.Response(status, text="<html>"))

    with pytest.raises(ServiceError) as refused:
        script.service().passages.get("a")
    assert refused.value.status == status
    assert refused.value.code == ""
    assert script.asked == 1


def test_pauses_are_drawn_anew_each_time():
    draws = iter([0.0, 0.5, 1.0])
    retries = Retries(draw=lambda: next(draws))

    waits = [retries.wait(httpx.Response(503), attempt) for attempt in (1, 2, 3)]
    assert waits == [0.0, 0.25, 1.0]


@pytest.mark.parametrize("text", ["", '{"line": 1, "status": "stored"}\n'])
def test_an_upload_whose_answer_was_cut_off_is_an_error(monkeypatch, text):
    script = Script(monkeypatch, httpx.Response(200, text=text))

    with pytest.raises(IncompleteAnswerError, match="cut off"):
        script.service().passages.upsert([TIDE])


def test_an_upload_that_ended_early_says_why(monkeypatch):
    aborted = {"summary": {"aborted": {"code": "x", "detail": "The disk is full."}}}
    script = Script(monkeypatch, httpx.Response(200, text=json.dumps(aborted)))

    with pytest.raises(IncompleteAnswerError, match="The disk is full"):
        script.service().passages.upsert([TIDE])


def test_an_answer_of_something_else_is_an_error(monkeypatch):
    script = Script(monkeypatch, httpx.Response(200, json={"hello": "world"}))

    with pytest.raises(IncompleteAnswerError, match="as this version"):
        script.service().passages.get("a")


async def test_the_asynchronous_client_does_the_same(make_app):
    app = make_app()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        AsyncIsoglot("http://isoglot", transport=transport) as service,
    ):
        report = await service.passages.upsert([TIDE, BROKEN, WHEEL])
        assert (report.received, report.stored) == (3, 2)
        assert [line.line async for line in service.passages.upsert_each([TIDE])] == [1]
        assert (await service.search("the tide", limit=1)).hits[0].id == "tide/1"
        (answer,) = await service.search_batch(["the wheel"])
        assert answer.response is not None
        assert (await service.passages.get("wheel")).language == "en"
        await service.passages.delete("wheel")
        with pytest.raises(NotFoundError):
            await service.passages.get("wheel")
        assert (await service.health()).passages == 1
        assert (await service.calibration_document())["kind"] == "logit-linear"


async def test_the_asynchronous_client_tries_again(monkeypatch):
    script = Script(monkeypatch, httpx.Response(503), httpx.Response(200, json=STORED))
    retries = Retries(draw=lambda: 0.0)
    async with AsyncIsoglot(transport=httpx.MockTransport(script), retries=retries) as service:
        assert (await service.passages.get("a")).text == "b"
    async with AsyncIsoglot("http://127.0.0.1:9", retries=retries) as service:
        assert not (await service.health()).is_ready
    assert script.asked == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (package.Isoglot, package.AsyncIsoglot),
        (package.Passages, package.AsyncPassages),
    ],
)
def test_both_clients_have_the_same_calls(one, other):
    def calls_of(cls: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in inspect.getmembers(cls, inspect.isfunction)
            if not name.startswith("_")
        }

    assert calls_of(one) == calls_of(other)


def test_every_member_of_a_request_can_be_given():
    options = {**search_schemas.SearchBody.model_fields}
    del options["query"]
    assert set(calls.SearchOptions.__annotations__) == set(options)
    languages = search_schemas.LanguageOptions.model_fields
    assert set(calls.LanguageOptions.__annotations__) == set(languages)
    assert set(calls.Passage.__annotations__) == set(schemas.PassageIn.model_fields)
    assert set(calls.Split.__annotations__) == set(schemas.SplitIn.model_fields)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (answer_schemas.SearchResponse, results.SearchResult),
        (answer_schemas.HitOut, results.Hit),
        (answer_schemas.HighlightOut, results.Highlight),
        (answer_schemas.Page, results.Page),
        (answer_schemas.QueryLanguage, results.QueryLanguage),
        (answer_schemas.BatchItem, results.BatchItem),
        (schemas.ModelOut, results.Model),
        (schemas.PassageOut, results.StoredPassage),
        (schemas.LineAnswer, results.Line),
        (schemas.LineError, results.LineError),
    ],
)
def test_every_member_of_an_answer_is_there(theirs, ours):
    assert set(theirs.model_fields) == set(ours.model_fields)


def test_members_that_are_not_known_yet_are_left_out(monkeypatch):
    script = Script(monkeypatch, httpx.Response(200, json={**STORED, "colour": "red"}))

    assert script.service().passages.get("a").id == "a"


def test_the_client_loads_neither_server_nor_engine():
    code = "import app.client, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    loaded = set(done.stdout.split())
    assert loaded & {"fastapi", "numpy", "onnxruntime", "qdrant_edge", "app.core"} == set()
