"""Who gets in. The tables are read from the application, so that no route can be forgotten."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from app.api.access import POLICY, PUBLIC
from app.core.access.keys import SCOPES
from app.core.errors import KeyFileError
from tests.app.api.conftest import PASSAGES
from tests.app.api.keys import MADE, add_key, bearer
from tests.app.api.problems import problem_of


@pytest.fixture
async def guarded(serve, key_file):
    """A service with keys, and ``PASSAGES``, and a key for every scope."""
    tokens = {scope: add_key(key_file, scope) for scope in SCOPES}
    async with serve(key_file=key_file) as client:
        stored = await client.post("/v1/passages", json=PASSAGES, headers=bearer(tokens["ingest"]))
        assert stored.status_code == 200
        yield client, tokens


def app_of(client: httpx.AsyncClient) -> Any:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    return transport.app


def operations(client: httpx.AsyncClient) -> Iterator[tuple[str, str]]:
    """Every operation there is, described or not, as method and path."""
    for route in iter_route_contexts(app_of(client).routes):
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield method, route.path_format or ""


def described(client: httpx.AsyncClient) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in app_of(client).openapi()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def guarded_operations(client: httpx.AsyncClient) -> list[tuple[str, str]]:
    found = [(m, p) for m, p in operations(client) if POLICY.get((m, p)) != PUBLIC]
    assert len(found) >= 7
    return found


async def call(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response:
    """Call an operation with a body that would do something if it were read."""
    address = path.replace("{passage_id}", "puncture.de")
    for name in ("{code}", "{name}", "{document_id}", "{query_id}"):
        address = address.replace(name, "a")
    body = {"id": "new", "text": "the hole", "query": "the hole"}
    return await client.request(method, address, json=body, **options)


class Tripwire:
    """Stands where the services were; whoever reaches for them is caught."""

    touched = 0

    def services(self) -> Any:
        self.touched += 1
        raise AssertionError("a refused request reached the services")


@pytest.fixture
def tripwire(guarded, monkeypatch):
    client, _ = guarded
    wire = Tripwire()
    monkeypatch.setattr(app_of(client).state.api.readiness, "lease", wire.services)
    return wire


def test_the_policy_names_just_the_operations_that_exist(make_app):
    client = httpx.AsyncClient(transport=httpx.ASGITransport(make_app()))
    existing = set(operations(client))

    assert existing - POLICY.keys() == set(), "say in POLICY which scope these need"
    assert POLICY.keys() - existing == set()
    assert {(method, path) for method, path, _ in described(client)} <= existing


def wrong_keys(tokens: dict[str, str], key_file) -> dict[str, dict[str, str]]:
    token = tokens["admin"]
    return {
        "none": {},
        "empty": bearer(""),
        "nonsense": bearer("nonsense"),
        "cut off": bearer(token[:-1]),
        "changed": bearer(token[:-1] + ("A" if token[-1] != "A" else "B")),
        "basic": {"Authorization": f"Basic {token}"},
        "without scheme": {"Authorization": token},
        "as a cookie": {"Cookie": f"api_key={token}"},
        "expired": bearer(add_key(key_file, *SCOPES, expires=MADE)),
        "wrong header": {"X-API-Key": "iso_000000000000_" + "A" * 43},
    }


async def test_without_a_valid_key_no_operation_reads_or_writes(guarded, key_file, tripwire):
    client, tokens = guarded
    for kind, headers in wrong_keys(tokens, key_file).items():
        for method, path in guarded_operations(client):
            response = await call(client, method, path, headers=headers)
            body = problem_of(response, 401, "unauthenticated")
            assert response.headers["www-authenticate"].startswith("Bearer"), (kind, method, path)
            assert "puncture" not in body["detail"]
    assert tripwire.touched == 0


async def test_a_key_in_the_address_is_no_key(guarded):
    client, tokens = guarded
    response = await client.get("/v1/bundle", params={"api_key": tokens["search"]})

    problem_of(response, 401, "unauthenticated")


async def test_a_key_without_the_scope_neither_reads_nor_writes(guarded, tripwire):
    client, tokens = guarded
    for method, path in guarded_operations(client):
        needed = POLICY[method, path]
        for scope in set(SCOPES) - {needed}:
            response = await call(client, method, path, headers=bearer(tokens[scope]))
            assert f"'{needed}'" in problem_of(response, 403, "missing_scope")["detail"]
    assert tripwire.touched == 0


async def test_a_key_with_the_scope_gets_through_to_every_operation(guarded):
    client, tokens = guarded
    for method, path in guarded_operations(client):
        for headers in (
            bearer(tokens[POLICY[method, path]]),
            {"X-API-Key": tokens[POLICY[method, path]]},
            {"authorization": f"bearer  {tokens[POLICY[method, path]]}"},
        ):
            response = await call(client, method, path, headers=headers)
            assert response.status_code not in {401, 403, 500}, (method, path, response.text)


async def test_public_operations_need_no_key_and_mind_no_wrong_one(guarded):
    client, _ = guarded
    public = [(m, p) for m, p in operations(client) if POLICY[m, p] == PUBLIC]
    assert ("GET", "/health/live") in public
    for method, path in public:
        for headers in ({}, bearer("nonsense")):
            response = await call(client, method, path, headers=headers)
            assert response.status_code in {200, 404}, (method, path)


async def test_a_route_that_the_policy_forgot_needs_the_scope_admin(guarded):
    client, tokens = guarded
    app_of(client).get("/v1/new")(lambda: "open")

    for scope in SCOPES:
        response = await client.get("/v1/new", headers=bearer(tokens[scope]))
        assert response.status_code == (200 if scope == "admin" else 403)
    problem_of(await client.get("/v1/new"), 401, "unauthenticated")


@pytest.mark.parametrize("method", ["HEAD", "PUT", "BREW"])
async def test_a_wrong_method_is_told_to_everybody(guarded, method):
    client, _ = guarded

    assert (await client.request(method, "/v1/search")).status_code == 405


async def test_a_body_is_not_read_before_the_key_is_checked(guarded):
    client, _ = guarded
    read = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b"{}"

    response = await client.post("/v1/passages", content=body())

    problem_of(response, 401, "unauthenticated")
    assert not read


async def test_a_new_key_counts_and_a_revoked_one_does_not_without_a_restart(
    serve, key_file, monkeypatch
):
    monkeypatch.setattr("app.adapters.key_file.LOOK_SECONDS", 0.0)
    first = add_key(key_file, "search")
    async with serve(key_file=key_file) as client:
        assert (await client.get("/v1/bundle", headers=bearer(first))).status_code == 200
        key_file.unlink()
        second = add_key(key_file, "search")
        assert (await client.get("/v1/bundle", headers=bearer(second))).status_code == 200
        problem_of(await client.get("/v1/bundle", headers=bearer(first)), 401, "unauthenticated")
        key_file.write_text("{broken")
        assert (await client.get("/v1/bundle", headers=bearer(second))).status_code == 200


def test_an_application_is_not_made_with_a_key_file_it_cannot_use(make_app, key_file):
    key_file.write_text("{broken")

    with pytest.raises(KeyFileError, match=r"keys\.json"):
        make_app(key_file=key_file)


@pytest.mark.parametrize("log_format", ["console", "json"])
async def test_no_secret_is_ever_logged_not_even_with_an_unknown_error(
    serve, store, key_file, caplog, capsys, monkeypatch, log_format
):
    async def break_down(queries):
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(store, "search", break_down)
    token = add_key(key_file, "search")
    wrong = token[:-2] + "__"
    async with serve(key_file=key_file, log_level="debug", log_format=log_format) as client:
        for sent in (token, wrong):
            for headers in (bearer(sent), {"X-API-Key": sent}):
                await client.post("/v1/search", json={"query": "x"}, headers=headers)
                await client.post("/v1/passages", json=[], headers=headers)
    written = caplog.text + "".join(capsys.readouterr())

    assert "the disk is on fire" in written
    assert token.split("_")[1] in written  # which key it was is logged
    assert token.split("_", 2)[2][:20] not in written


async def test_the_description_says_which_scope_each_operation_needs(guarded):
    client, _ = guarded
    for method, path, operation in described(client):
        needed = POLICY[method, path]
        if needed == PUBLIC:
            assert "security" not in operation
            continue
        assert operation["security"] == [{"bearer": [needed]}, {"apiKey": [needed]}, {}]
        assert {"401", "403", "429"} <= operation["responses"].keys()
        assert ("408" in operation["responses"]) == ("requestBody" in operation)


async def test_other_origins_get_nothing_unless_they_are_named(serve, key_file):
    preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    async with serve() as client:
        asked = await client.options("/v1/search", headers=preflight)
        got = await client.get("/v1/bundle", headers={"Origin": "https://shop.example"})
    assert asked.status_code == 405
    assert "access-control-allow-origin" not in {**asked.headers, **got.headers}

    add_key(key_file, "search")
    named = {"cors_origins": ("https://shop.example",), "key_file": key_file}
    async with serve(**named) as client:
        asked = await client.options("/v1/search", headers=preflight)
        refused = await client.get("/v1/bundle", headers={"Origin": "https://shop.example"})
        stranger = await client.get("/v1/bundle", headers={"Origin": "https://evil.example"})
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == "https://shop.example"
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in asked.headers
    problem_of(refused, 401, "unauthenticated")
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"
    assert "Retry-After" in refused.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in stranger.headers


async def silent() -> Any:
    yield b'{"id": "a", '
    await asyncio.sleep(10)
    yield b'"text": "b"}\n'


async def test_a_body_that_stops_arriving_is_given_up(serve):
    async with serve(body_timeout=0.05) as client:
        response = await client.post(
            "/v1/passages", content=silent(), headers={"Content-Type": "application/json"}
        )
        problem_of(response, 408, "body_timeout")


async def test_a_stream_of_lines_that_stops_arriving_ends_with_a_summary(serve):
    async with serve(body_timeout=0.05) as client:
        response = await client.post(
            "/v1/passages", content=silent(), headers={"Content-Type": "application/x-ndjson"}
        )
    assert response.status_code == 200
    summary = json.loads(response.text.splitlines()[-1])["summary"]
    assert summary["aborted"]["code"] == "disconnected"


async def test_a_body_that_goes_on_arriving_slowly_is_taken(serve):
    async def slow() -> Any:
        for byte in b'{"query": "the hole"}':
            await asyncio.sleep(0.025)
            yield bytes([byte])

    async with serve(body_timeout=0.4) as client:
        response = await client.post(
            "/v1/search", content=slow(), headers={"Content-Type": "application/json"}
        )
    assert response.status_code == 200


SEARCH = {"query": "the tide", "limit": 50, "diagnostics": ["language"]}
EVERYTHING = {"must_not": [{"key": "language", "match": {"value": "never"}}]}


def shown(entries: list[dict[str, Any]]) -> dict[str, str]:
    assert all(entry["metadata"] == {} for entry in entries)
    return {entry["id"]: entry["text"] for entry in entries}


async def check_counts(client: httpx.AsyncClient, expected: int) -> None:
    """Everything that counts passages counts those of the tenant alone."""
    counted = await client.post("/v1/passages:count", json={"filter": EVERYTHING})
    assert counted.json()["count"] == expected
    facets = await client.post("/v1/passages:facets", json={"field": "language"})
    assert sum(value["count"] for value in facets.json()["values"]) == expected
    collection = (await client.get("/v1/collections/passages")).json()
    assert collection["passages"] == expected
    assert "_tenant" not in json.dumps(collection)
    answer = (await client.post("/v1/search", json=SEARCH)).json()
    assert answer["diagnostics"]["language"]["filtered_corpus_size"] == expected
    stamp = {"field": "_tenant"}
    problem_of(await client.post("/v1/passages:facets", json=stamp), 400, "malformed_filter")


class Tenant:
    """What one tenant must find over HTTP: its own writes, as if it were alone."""

    verbs = ("put", "put", "put", "delete", "purge", "get", "search", "batch", "list", "count")

    def __init__(self, name: str, client: httpx.AsyncClient, dice: random.Random) -> None:
        self.mine: dict[str, str] = {}
        self._name = name
        self._client = client
        self._dice = dice

    def _id(self) -> str:
        return f"p{self._dice.randrange(8)}"

    async def put(self) -> None:
        texts = {
            self._id(): f"the {self._dice.choice(['tide', 'wheel', 'moon'])} of {self._name}"
            for _ in range(3)
        }
        rows = [{"id": i, "text": text, "language": "en"} for i, text in texts.items()]
        if self._dice.random() < 0.5:
            response = await self._client.post("/v1/passages", json=rows)
        else:
            response = await self._client.post(
                "/v1/passages",
                content="".join(json.dumps(row) + "\n" for row in rows),
                headers={"Content-Type": "application/x-ndjson"},
            )
            assert json.loads(response.text.splitlines()[-1])["summary"]["rejected"] == 0
        assert response.status_code == 200
        self.mine.update(texts)

    async def delete(self) -> None:
        chosen = self._id()
        response = await self._client.delete(f"/v1/passages/{chosen}")
        assert response.is_success == (chosen in self.mine)
        self.mine.pop(chosen, None)

    async def purge(self) -> None:
        body = {"filter": EVERYTHING, "expected_count": len(self.mine)}
        response = await self._client.post("/v1/passages:delete", json=body)
        assert response.json()["deleted"] == len(self.mine)
        self.mine.clear()

    async def get(self) -> None:
        chosen = self._id()
        response = await self._client.get(f"/v1/passages/{chosen}")
        assert response.is_success == (chosen in self.mine)
        if response.is_success:
            assert shown([response.json()]) == {chosen: self.mine[chosen]}

    async def search(self) -> None:
        response = await self._client.post("/v1/search", json=SEARCH)
        assert shown(response.json()["hits"]) == self.mine

    async def batch(self) -> None:
        response = await self._client.post("/v1/search:batch", json={"searches": [SEARCH]})
        (item,) = response.json()["results"]
        assert shown(item["response"]["hits"]) == self.mine

    async def list(self) -> None:
        response = await self._client.get("/v1/passages")
        assert shown(response.json()["passages"]) == self.mine

    async def count(self) -> None:
        await check_counts(self._client, len(self.mine))


async def test_over_http_too_tenants_never_see_each_other(serve, key_file):
    dice = random.Random(3)
    tokens = [add_key(key_file, "search", "ingest", tenant=name) for name in ("acme", "globex")]
    async with serve(key_file=key_file) as client:
        transport = client._transport
        tenants = []
        for token, name in zip(tokens, ("acme", "globex"), strict=True):
            own = httpx.AsyncClient(
                transport=transport, base_url="http://isoglot", headers=bearer(token)
            )
            tenants.append(Tenant(name, own, dice))
        for _ in range(300):
            await getattr(dice.choice(tenants), dice.choice(Tenant.verbs))()
    assert any(tenant.mine for tenant in tenants)


async def test_no_tenant_goes_on_with_the_answer_of_another_or_sees_its_statistics(serve, key_file):
    ours, theirs = (
        bearer(add_key(key_file, "search", "ingest", tenant=name)) for name in ("acme", "globex")
    )
    rows = [{"id": f"p{n}", "text": f"the tide {n}", "language": "en"} for n in range(4)]
    async with serve(key_file=key_file) as client:
        await client.post("/v1/passages", json=rows, headers=ours)
        asked = {"query": "the tide", "limit": 1}
        first = (await client.post("/v1/search", json=asked, headers=ours)).json()
        next_page = {**asked, "cursor": first["page"]["next_cursor"]}
        stolen = await client.post("/v1/search", json=next_page, headers=theirs)
        followed = await client.post("/v1/search", json=next_page, headers=ours)
        pages = (await client.get("/v1/passages", params={"limit": 1}, headers=ours)).json()
        listed = await client.get(
            "/v1/passages", params={"cursor": pages["next_cursor"]}, headers=theirs
        )
        seen = [
            (await client.get("/v1/diagnostics/languages", headers=headers)).json()
            for headers in (ours, theirs)
        ]
    assert stolen.status_code in {410, 422}
    assert "hits" not in stolen.json()
    assert followed.json()["hits"][0]["rank"] == 2
    assert listed.json()["passages"] == []
    assert seen[0] != seen[1]
    assert "en" in json.dumps(seen[0])
    assert seen[1]["answers"] == 0


async def test_a_key_of_no_tenant_sees_all_of_them(serve, key_file):
    everything = add_key(key_file, "search")
    tokens = [add_key(key_file, "ingest", tenant=name) for name in ("acme", "globex")]
    async with serve(key_file=key_file) as client:
        row = {"id": "a", "text": "the tide", "language": "en"}
        for token in tokens:
            stored = await client.post("/v1/passages", json=[row], headers=bearer(token))
            assert stored.status_code == 200
        response = await client.post(
            "/v1/search", json={"query": "the tide"}, headers=bearer(everything)
        )
    assert {hit["id"] for hit in response.json()["hits"]} == {"acme/a", "globex/a"}
