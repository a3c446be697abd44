import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.api.ndjson import LINES_A_PIECE, MAX_LINE_BYTES, split_lines
from app.core.errors import StoreError
from tests.app.api.conftest import until_started
from tests.app.api.problems import problem_of

NDJSON = {"Content-Type": "application/x-ndjson"}


def line(passage_id: str, text: str = "the text", **more: object) -> bytes:
    return json.dumps({"id": passage_id, "text": text, **more}).encode() + b"\n"


async def upload(client: httpx.AsyncClient, content: Any) -> tuple[list[Any], Any]:
    response = await client.post("/v1/passages", content=content, headers=NDJSON)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-ndjson"
    *answers, last = [json.loads(text) for text in response.text.splitlines()]
    return answers, last["summary"]


async def passages_in(client: httpx.AsyncClient) -> int:
    return int((await client.get("/health/ready")).json()["passages"])


async def test_every_line_is_answered_in_order_and_summed_up(client):
    answers, summary = await upload(client, line("a") + line("b"))

    assert answers == [
        {"line": 1, "id": "a", "status": "stored"},
        {"line": 2, "id": "b", "status": "stored"},
    ]
    assert summary == {"received": 2, "stored": 2, "rejected": 0}
    assert await passages_in(client) == 2


@pytest.mark.parametrize(
    ("bad", "code", "hint"),
    [
        (b"{not json}\n", "malformed_json", "column"),
        (b'{"id": "x", "text": "\xff"}\n', "malformed_json", "unicode"),
        (b'{"id": "x", "text": "y", "metadata": {"n": NaN}}\n', "malformed_json", "NaN"),
        (b'["a list"]\n', "invalid_request", "object"),
        (b'{"id": "x"}\n', "invalid_request", "/text"),
        (b'{"id": "x", "text": "y", "lang": "de"}\n', "invalid_request", "/lang"),
        (line("x", language="klingon!"), "invalid_input", "language tag"),
        (line("x", text=" "), "invalid_passage", "no text"),
        (line("x", metadata={"n": 2**70}), "invalid_passage", "64 bits"),
        (line("x", text="!!!"), "unencodable_text", "token"),
        (line("x", text="y" * MAX_LINE_BYTES), "line_too_long", str(MAX_LINE_BYTES)),
    ],
)
async def test_a_bad_line_is_reported_by_number_and_its_neighbours_are_stored(
    client, bad, code, hint
):
    answers, summary = await upload(client, line("a") + bad + line("b") + line("c"))

    assert [answer["status"] for answer in answers] == ["stored", "rejected", "stored", "stored"]
    assert answers[1]["line"] == 2
    assert answers[1]["error"]["code"] == code
    assert hint in answers[1]["error"]["detail"]
    assert summary == {"received": 4, "stored": 3, "rejected": 1}
    assert await passages_in(client) == 3


async def test_several_lines_the_store_refuses_are_all_found(client):
    refused = {3, 4, 90, 200}
    lines = [
        line(str(n), metadata={"n": 2**70} if n in refused else {}) for n in range(LINES_A_PIECE)
    ]

    answers, summary = await upload(client, b"".join(lines))

    assert {int(a["id"]) for a in answers if a["status"] == "rejected"} == refused
    assert [answer["line"] for answer in answers] == list(range(1, LINES_A_PIECE + 1))
    assert await passages_in(client) == summary["stored"] == LINES_A_PIECE - len(refused)


async def test_blank_lines_are_counted_as_lines_but_not_answered(client):
    answers, summary = await upload(client, b"\n" + line("a") + b"  \r\n\n" + line("b"))

    assert [answer["line"] for answer in answers] == [2, 5]
    assert summary["received"] == 2


async def test_a_last_line_without_a_line_break_is_stored(client):
    _, summary = await upload(client, line("a") + line("b").rstrip())

    assert summary["stored"] == 2


async def test_an_empty_upload_is_answered_with_a_summary(client):
    assert await upload(client, b"") == ([], {"received": 0, "stored": 0, "rejected": 0})


async def test_an_upload_of_many_pieces_is_stored_completely(client):
    count = 3 * LINES_A_PIECE + 7

    async def body() -> AsyncIterator[bytes]:
        for n in range(count):
            yield line(str(n))

    answers, summary = await upload(client, body())

    assert len(answers) == summary["stored"] == count
    assert await passages_in(client) == count


async def test_a_stream_may_be_larger_than_the_limit_of_a_json_body(serve):
    async with serve(max_body_bytes=1024) as client:
        _, summary = await upload(client, b"".join(line(str(n)) for n in range(100)))

    assert summary["stored"] == 100


async def test_lines_are_answered_before_the_upload_ends(make_app, serve):
    """Drives the application by hand: no client in reach reads while it writes."""
    app = make_app()
    sent: list[bytes] = []
    answered = asyncio.Event()
    blocks = iter([line(str(n)) for n in range(LINES_A_PIECE)])

    async def receive():
        block = next(blocks, None)
        if block is None:
            await asyncio.wait_for(answered.wait(), 5)
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.request", "body": block, "more_body": True}

    async def send(message):
        if message.get("body"):
            sent.append(message["body"])
            answered.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/passages",
        "raw_path": b"/v1/passages",
        "query_string": b"",
        "headers": [(b"content-type", b"application/x-ndjson")],
    }
    async with app.router.lifespan_context(app):
        await until_started(app)
        await app(scope, receive, send)

    assert json.loads(b"".join(sent).splitlines()[-1])["summary"]["stored"] == LINES_A_PIECE


async def test_a_store_that_fails_in_the_middle_ends_the_upload_with_the_reason(
    client, store, monkeypatch
):
    keep = store.upsert

    async def fill_up(passages, *, durable):
        if await store.count():
            raise StoreError("The disk is full.")
        await keep(passages, durable=durable)

    monkeypatch.setattr(store, "upsert", fill_up)

    answers, summary = await upload(client, b"".join(line(str(n)) for n in range(600)))

    assert summary["stored"] == len(answers) == LINES_A_PIECE
    assert summary["aborted"] == {"code": "store_error", "detail": "The disk is full."}


async def test_stored_and_rejected_passages_are_counted(client):
    await upload(client, line("a") + b"{\n" + line("b"))

    metrics = (await client.get("/metrics")).text
    assert "isoglot_passages_ingested_total 2.0" in metrics
    assert "isoglot_passages_rejected_total 1.0" in metrics


async def test_a_compressed_upload_is_refused_before_it_is_read(client):
    response = await client.post(
        "/v1/passages", content=b"\x1f\x8b", headers={**NDJSON, "Content-Encoding": "gzip"}
    )

    assert "gzip" in problem_of(response, 415, "unsupported_media_type")["detail"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_lines_do_not_depend_on_how_the_stream_is_cut(size):
    whole = b"abc\n" + b"x" * 20 + b"\n\n" + b"de\n" + b"y" * 11

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(whole), size):
            yield whole[start : start + size]

    lines = [(found.number, found.raw) async for found in split_lines(stream(), max_line_bytes=10)]

    assert lines == [(1, b"abc"), (2, None), (4, b"de"), (5, None)]
