from __future__ import annotations

import httpx
import pytest
from pydantic import SecretStr

from app.api.schemas.search import SearchBody
from app.cli.exits import CannotStartError, UsageError
from app.cli.ingest.passages_file import PassageLine, Rejection
from app.cli.remote import RemoteService
from app.client.retries import Retries
from app.core.types import Passage

LINES = [PassageLine("a.jsonl", n, Passage(str(n), "sea"), read=0) for n in (4, 9)]
STORED = '{"line":1,"id":"4","status":"created"}\n'
REJECTED = '{"line":2,"status":"rejected","error":{"code":"x","detail":"no token"}}\n'
CLOSING = '{"summary":{"received":2,"created":1,"rejected":1}}\n'
ABORTED = '{"summary":{"received":1,"created":1,"aborted":{"code":"x","detail":"disk is full"}}}\n'


def service(status: int, text: str) -> RemoteService:
    """A service that answers every request like this."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=text))
    return RemoteService("http://service", transport=transport)


async def test_rejections_carry_the_number_of_the_line_in_its_file():
    async with service(200, STORED + REJECTED + CLOSING) as remote:
        assert await remote.store(LINES) == [Rejection("a.jsonl", 9, "no token")]


@pytest.mark.parametrize(
    ("answer", "message"),
    [(STORED, "cut off"), ("", "cut off"), (STORED + ABORTED, "disk is full")],
)
async def test_an_incomplete_answer_is_an_error(answer, message):
    async with service(200, answer) as remote:
        with pytest.raises(CannotStartError, match=message):
            await remote.store(LINES)


@pytest.mark.parametrize(
    ("status", "text", "kind", "message"),
    [
        (422, '{"detail": "limit is 0"}', UsageError, "limit is 0"),
        (503, '{"detail": "still starting"}', CannotStartError, "503: still starting"),
        (502, "<html>", CannotStartError, "502: Bad Gateway"),
        (200, "{}", CannotStartError, "does not answer as this version"),
    ],
)
async def test_refusals_are_told_in_the_words_of_the_service(status, text, kind, message):
    async with service(status, text) as remote:
        with pytest.raises(kind, match=message):
            await remote.search(SearchBody(query="sea"))


async def test_an_unreachable_service_is_an_error_that_says_how_to_start_one():
    async with RemoteService("http://127.0.0.1:9") as remote:
        with pytest.raises(CannotStartError, match="isoglot serve"):
            await remote.search(SearchBody(query="sea"))


def test_an_address_without_scheme_is_refused():
    with pytest.raises(UsageError, match="must begin with http"):
        RemoteService("127.0.0.1:8000")


@pytest.mark.parametrize(("key", "sent"), [(None, None), ("iso_secret", "Bearer iso_secret")])
async def test_the_api_key_is_sent_if_there_is_one(key, sent):
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text=CLOSING)

    transport = httpx.MockTransport(answer)
    secret = None if key is None else SecretStr(key)
    async with RemoteService("http://service", key=secret, transport=transport) as remote:
        await remote.store([])
    assert seen[0].headers.get("authorization") == sent


class Busy:
    """A service that has too much to do for the first so many requests."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.left -= 1
        if self.left >= 0:
            return httpx.Response(429, headers={"Retry-After": "0"}, json={"detail": "too many"})
        return httpx.Response(200 if request.url.path.endswith("p1") else 404, json={})


async def test_a_key_that_is_missing_is_said_where_it_belongs():
    async with service(401, '{"detail": "This needs an API key."}') as remote:
        with pytest.raises(
            CannotStartError, match=r"401: This needs an API key\. .*ISOGLOT_API_KEY"
        ):
            await remote.is_stored("p1")


async def test_too_many_requests_are_waited_out_but_not_for_ever():
    at_once = Retries(attempts=3, pause=0.0)
    for times, refused in ((2, False), (3, True)):
        transport = httpx.MockTransport(Busy(times))
        async with RemoteService("http://service", transport=transport, retries=at_once) as remote:
            if refused:
                with pytest.raises(CannotStartError, match="429: too many"):
                    await remote.is_stored("p1")
            else:
                assert await remote.is_stored("p1")
                assert not await remote.is_stored("a/b")
