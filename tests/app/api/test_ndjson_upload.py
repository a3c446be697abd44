import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest

from app.api.gzip_body import FREE_BYTES
from app.api.ndjson_lines import (
    BYTES_A_PIECE,
    LINES_A_PIECE,
    MAX_LINE_BYTES,
    Line,
    pieces,
    split_lines,
)
from app.core.errors import StoreError
from app.core.types import VectorArray
from tests.app.api.conftest import until_started
from tests.app.api.problems import problem_of
from tests.fakes import FAKE_DIM, FakeEncoder

NDJSON = {"Content-Type": "application/x-ndjson"}


def line(passage_id: str, text: str = "the text", **more: object) -> bytes:
    return json.dumps({"id": passage_id, "text": text, **more}).encode() + b"\n"


async def upload(
    client: httpx.AsyncClient, content: Any, *, encoding: str = "identity", **options: Any
) -> tuple[list[Any], Any]:
    headers = {**NDJSON, "Content-Encoding": encoding}
    response = await client.post("/v1/passages", content=content, headers=headers, params=options)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-ndjson"
    *answers, last = [json.loads(text) for text in response.text.splitlines()]
    return answers, last["summary"]


def totals(**counts: int) -> dict[str, int]:
    nothing = {"created": 0, "updated": 0, "unchanged": 0, "rejected": 0}
    return {"received": sum(counts.values()), **nothing, **counts}


async def passages_in(client: httpx.AsyncClient) -> int:
    return int((await client.get("/health/ready")).json()["passages"])


async def test_every_line_is_answered_in_order_and_summed_up(client):
    answers, summary = await upload(client, line("a") + line("b"))

    assert answers == [
        {"line": 1, "id": "a", "status": "created", "language": "und"},
        {"line": 2, "id": "b", "status": "created", "language": "und"},
    ]
    assert summary == totals(created=2)
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

    assert [answer["status"] for answer in answers] == ["created", "rejected", "created", "created"]
    assert answers[1]["line"] == 2
    assert answers[1]["error"]["code"] == code
    assert hint in answers[1]["error"]["detail"]
    assert summary == totals(created=3, rejected=1)
    assert await passages_in(client) == 3


async def test_several_lines_the_store_refuses_are_all_found(client):
    refused = {3, 4, 90, 200}
    lines = [
        line(str(n), metadata={"n": 2**70} if n in refused else {}) for n in range(LINES_A_PIECE)
    ]

    answers, summary = await upload(client, b"".join(lines))

    assert {int(a["id"]) for a in answers if a["status"] == "rejected"} == refused
    assert [answer["line"] for answer in answers] == list(range(1, LINES_A_PIECE + 1))
    assert await passages_in(client) == summary["created"] == LINES_A_PIECE - len(refused)


async def test_blank_lines_are_counted_as_lines_but_not_answered(client):
    answers, summary = await upload(client, b"\n" + line("a") + b"  \r\n\n" + line("b"))

    assert [answer["line"] for answer in answers] == [2, 5]
    assert summary["received"] == 2


async def test_a_last_line_without_a_line_break_is_stored(client):
    _, summary = await upload(client, line("a") + line("b").rstrip())

    assert summary["created"] == 2


async def test_an_empty_upload_is_answered_with_a_summary(client):
    assert await upload(client, b"") == ([], totals())


async def test_an_upload_of_many_pieces_is_stored_completely(client):
    count = 3 * LINES_A_PIECE + 7

    async def body() -> AsyncIterator[bytes]:
        for n in range(count):
            yield line(str(n))

    answers, summary = await upload(client, body())

    assert len(answers) == summary["created"] == count
    assert await passages_in(client) == count


async def test_a_stream_may_be_larger_than_the_limit_of_a_json_body(serve):
    async with serve(max_body_bytes=1024) as client:
        _, summary = await upload(client, b"".join(line(str(n)) for n in range(100)))

    assert summary["created"] == 100


async def test_lines_are_answered_before_the_upload_ends(make_app, serve):
    """Drives the application by hand: no client in reach reads while it writes."""
    app = make_app()
    sent: list[bytes] = []
    answered = asyncio.Event()
    blocks = iter([line(str(n)) for n in range(LINES_A_PIECE)])

    async def receive():
        block = next(blocks, None)
        if block is None:
            await asyncio.wait_for(answered.wait(), 60)
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

    assert json.loads(b"".join(sent).splitlines()[-1])["summary"]["created"] == LINES_A_PIECE


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

    assert summary["created"] == len(answers) == LINES_A_PIECE
    assert summary["aborted"] == {"code": "store_error", "detail": "The disk is full."}


async def test_stored_and_rejected_passages_are_counted(client):
    await upload(client, line("a") + b"{\n" + line("b"))

    metrics = (await client.get("/metrics")).text
    assert "isoglot_passages_ingested_total 2.0" in metrics
    assert "isoglot_passages_rejected_total 1.0" in metrics


async def test_lines_say_what_was_new_what_changed_and_what_was_there_already(client):
    await upload(client, line("a") + line("b", language="en"))
    changed = line("a", text="the other text")
    same = line("b", language="en")

    answers, summary = await upload(client, changed + same + line("c") + changed + line("a"))

    assert [answer["status"] for answer in answers] == [
        "updated",
        "unchanged",
        "created",
        "unchanged",
        "updated",
    ]
    assert summary == totals(created=1, updated=2, unchanged=2)
    assert (await client.get("/v1/passages/a")).json()["text"] == "the text"


async def test_unchanged_lines_are_not_encoded_again(client, monkeypatch):
    whole = b"".join(line(str(n)) for n in range(300))
    await upload(client, whole)

    def refuse(self: FakeEncoder, texts: Sequence[str]) -> VectorArray:
        assert not texts
        return np.zeros((0, FAKE_DIM), np.float32)

    monkeypatch.setattr(FakeEncoder, "encode_passages", refuse)

    assert (await upload(client, whole))[1] == totals(unchanged=300)


@pytest.mark.parametrize(
    "bad", [b"{\n", line("x", text="!!!"), line("x", metadata={"n": 2**70}), line("x", text=" ")]
)
@pytest.mark.parametrize("before", [0, 1, 5, LINES_A_PIECE + 3])
async def test_abort_stores_what_comes_before_the_first_bad_line_and_nothing_after(
    client, bad, before
):
    good = [line(str(n)) for n in range(before + 10)]

    answers, summary = await upload(
        client,
        b"".join([*good[:before], bad, *good[before:], b"{\n", line("y", text="!!!")]),
        on_error="abort",
    )

    assert [answer["line"] for answer in answers] == list(range(1, before + 2))
    assert answers[-1]["status"] == "rejected"
    assert summary.pop("aborted")["code"] == "line_rejected"
    assert summary == totals(created=before, rejected=1)
    assert await passages_in(client) == before


async def test_abort_answers_no_second_bad_line(client):
    answers, _ = await upload(client, line("a") + line("x", text="!!!") + b"{\n", on_error="abort")

    assert [answer["status"] for answer in answers] == ["created", "rejected"]


async def test_abort_without_a_bad_line_changes_nothing(client):
    assert (await upload(client, line("a") + line("b"), on_error="abort"))[1] == totals(created=2)


@pytest.mark.parametrize(("wait", "durable"), [("true", True), ("false", False)])
async def test_wait_says_whether_lines_survive_loss_of_power_when_answered(
    client, store, monkeypatch, wait, durable
):
    seen: list[bool] = []
    keep = store.upsert

    async def note(passages, *, durable):
        seen.append(durable)
        await keep(passages, durable=durable)

    monkeypatch.setattr(store, "upsert", note)

    await upload(client, line("a"), wait=wait)

    assert seen == [durable]
    assert await passages_in(client) == 1


@pytest.mark.parametrize("options", [{"on_error": "stop"}, {"wait": "maybe"}])
async def test_options_that_are_not_known_are_refused(client, options):
    response = await client.post("/v1/passages", content=b"", headers=NDJSON, params=options)

    problem_of(response, 422, "invalid_request")


async def test_a_compressed_upload_is_unpacked(client):
    lines = [line(str(n), text=f"the text {n}") for n in range(1000)]
    members = gzip.compress(b"".join(lines[:500])) + gzip.compress(b"".join(lines[500:]))

    answers, summary = await upload(client, members, encoding="gzip")

    assert len(answers) == 1000
    assert summary == totals(created=1000)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"this is not gzip", "not gzip"),
        (gzip.compress(line("a") * 1000)[:-12], "cut off"),
        (gzip.compress(b"\n" * (4 * FREE_BYTES)), "unpacks to more"),
    ],
)
async def test_a_body_that_cannot_be_unpacked_ends_the_upload_with_the_reason(client, body, reason):
    _, summary = await upload(client, body, encoding="gzip")

    assert summary["aborted"]["code"] == "malformed_gzip"
    assert reason in summary["aborted"]["detail"]


async def test_other_encodings_and_compressed_json_are_refused(client):
    brotli = {**NDJSON, "Content-Encoding": "br"}
    packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    for headers in (brotli, packed):
        response = await client.post("/v1/passages", content=b"\x1f\x8b", headers=headers)
        encoding = headers["Content-Encoding"]
        assert encoding in problem_of(response, 415, "unsupported_media_type")["detail"]


async def test_a_long_text_is_split_into_passages(client):
    text = "The sea is salt. " * 40
    answers, _ = await upload(
        client, line("book", text=text, split={"max_characters": 200}) + line("a")
    )

    count = answers[0]["passages"]
    assert answers[0] == {"line": 1, "id": "book", "status": "created", "passages": count}
    assert count >= 4
    first = (await client.get("/v1/passages/book%231")).json()
    assert first["document_id"] == "book"
    assert first["text"] == text[first["span"][0] : first["span"][1]]
    assert len(first["text"]) <= 200


async def test_pieces_are_bounded_in_lines_and_in_bytes():
    async def lines() -> AsyncIterator[Line]:
        for number in range(LINES_A_PIECE + 10):
            yield Line(number, b"x")
        for number in range(5):
            yield Line(number, b"x" * (BYTES_A_PIECE // 2))

    assert [len(piece) async for piece in pieces(lines())] == [LINES_A_PIECE, 12, 2, 1]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_lines_do_not_depend_on_how_the_stream_is_cut(size):
    whole = b"abc\n" + b"x" * 20 + b"\n\n" + b"de\n" + b"y" * 11

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(whole), size):
            yield whole[start : start + size]

    lines = [(found.number, found.raw) async for found in split_lines(stream(), max_line_bytes=10)]

    assert lines == [(1, b"abc"), (2, None), (4, b"de"), (5, None)]
