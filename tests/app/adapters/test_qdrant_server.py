"""What the Qdrant adapter sends, and what it makes of every way in which a server fails."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.adapters.qdrant.connection import QdrantConnection, connect
from app.adapters.qdrant.options import QdrantOptions
from app.adapters.qdrant.shelf import QdrantShelf
from app.adapters.qdrant.store import QdrantPassageStore
from app.adapters.resilience import CallPolicy
from app.core.access.tenancy import with_tenant_field
from app.core.errors import StoreError, StoreUnavailableError
from app.core.types import NearestQuery, Passage, Served
from tests.fake_qdrant import fake_qdrant
from tests.fakes import FAKE_COLLECTION, FakeEncoder, embed
from tests.stores import fake_connection

OPTIONS = QdrantOptions(url="http://qdrant:6333", replicas=3, write_consistency=2, shards=6)
QUICK = CallPolicy(deadline=0.5, first_pause=0.001, trip_after=1000)
COLLECTION = "passages@fake"
PASSAGES = [Passage("a", "the sea is salt", "en"), Passage("b", "das Meer ist salzig", "de")]

Handler = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Wire(httpx.AsyncBaseTransport):
    """Hands requests to a stand-in for a server, keeps them, and can be made to misbehave."""

    def __init__(self) -> None:
        self._server = httpx.ASGITransport(app=fake_qdrant())
        self.sent: list[tuple[str, str, Any]] = []
        self.faults: Iterator[Handler | None] = iter(())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        self.sent.append((request.method, request.url.raw_path.decode(), body))
        fault = next(self.faults, None)
        return await (fault or self._server.handle_async_request)(request)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def connection(wire: Wire) -> QdrantConnection:
    return QdrantConnection(OPTIONS, client=connect(OPTIONS, transport=wire), policy=QUICK)


@pytest.fixture
async def store(connection: QdrantConnection) -> QdrantPassageStore:
    opened = QdrantPassageStore(connection, COLLECTION)
    await opened.open(FAKE_COLLECTION)
    await opened.upsert(embed(PASSAGES), durable=True)
    return opened


def answering(status: int, body: bytes = b"{}", headers: dict[str, str] | None = None) -> Handler:
    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=body, headers=headers, request=request)

    return answer


def raising(error: type[httpx.TransportError]) -> Handler:
    async def fail(request: httpx.Request) -> httpx.Response:
        raise error("cut off", request=request)

    return fail


def refusing(status: int, reason: str) -> Handler:
    return answering(status, json.dumps({"status": {"error": reason}}).encode())


TRANSIENT = {
    "connection refused": raising(httpx.ConnectError),
    "connection cut": raising(httpx.ReadError),
    "half an answer": raising(httpx.RemoteProtocolError),
    "no answer": raising(httpx.ReadTimeout),
    "overloaded": answering(503),
    "no replica": refusing(500, "The replica set for shard 0 has no active replica"),
    "too many requests": answering(429, headers={"Retry-After": "0"}),
    "no JSON": answering(200, b"\x00\xff{"),
    "another shape": answering(200, b'{"result": {"count": "many"}}'),
}


class TestFailing:
    @pytest.mark.parametrize("fault", TRANSIENT)
    async def test_what_may_pass_is_tried_again(self, store, wire, fault):
        wire.faults = iter([TRANSIENT[fault], TRANSIENT[fault]])
        assert await store.count() == 2

    @pytest.mark.parametrize("fault", TRANSIENT)
    async def test_what_does_not_pass_is_unavailable_without_words_of_the_vendor(
        self, store, wire, fault
    ):
        wire.faults = iter([TRANSIENT[fault]] * 99)
        calls: list[Callable[[], Awaitable[Any]]] = [
            store.count,
            store.health,
            lambda: store.upsert(embed(PASSAGES), durable=True),
            lambda: store.search([NearestQuery(embed(PASSAGES)[0].vector, 3)]),
        ]
        for call in calls:
            with pytest.raises(StoreUnavailableError) as caught:
                await call()
            assert "Raw response" not in str(caught.value)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_refused_key_names_the_setting_and_is_not_tried_again(
        self, store, wire, status
    ):
        wire.faults = iter([refusing(status, "Invalid API key or JWT")] * 99)
        already = len(wire.sent)
        with pytest.raises(StoreError, match="Check ISOGLOT_QDRANT_API_KEY"):
            await store.count()
        assert len(wire.sent) == already + 1

    async def test_a_refused_request_says_what_the_server_says(self, store, wire):
        wire.faults = iter([refusing(400, "Wrong input: Limit exceeded 5 > 3")])
        with pytest.raises(StoreError, match="Qdrant answered 400: Wrong input: Limit exceeded"):
            await store.count()

    async def test_a_point_of_somebody_else_is_an_error_of_the_store(self, store, wire):
        foreign = {"result": [{"id": 1, "payload": {"body": "x"}}], "status": "ok", "time": 0.1}
        wire.faults = iter([answering(200, json.dumps(foreign).encode())])
        with pytest.raises(StoreError, match="holds no passage of Isoglot"):
            await store.get(["a"])

    async def test_the_stand_in_refuses_a_wrong_key_as_a_server_does(self):
        guarded = fake_connection(api_key="right")
        assert await QdrantShelf(guarded, "passages").served() is None
        options = QdrantOptions(url="http://qdrant:6333", api_key="wrong")
        transport = httpx.ASGITransport(app=fake_qdrant(api_key="right"))
        wrong = QdrantConnection(options, client=connect(options, transport=transport))
        with pytest.raises(StoreError, match="refused the API key"):
            await QdrantShelf(wrong, "passages").served()


class TestMaking:
    async def test_a_collection_is_made_with_everything_that_production_needs(self, store, wire):
        [made] = [b for m, p, b in wire.sent if (m, p) == ("PUT", "/collections/passages%40fake")]
        assert made["vectors"] == {"dense": {"size": 32, "distance": "Cosine"}}
        assert made["quantization_config"]["scalar"]["type"] == "int8"
        assert made["strict_mode_config"]["enabled"] is True
        assert made["strict_mode_config"]["unindexed_filtering_retrieve"] is False
        wanted = {"shard_number": 6, "replication_factor": 3, "write_consistency_factor": 2}
        assert made.items() >= wanted.items()
        assert json.loads(made["metadata"]["isoglot"])["encoder_id"] == FAKE_COLLECTION.encoder_id

    async def test_every_filter_has_an_index_before_the_first_point(self, connection, wire):
        spec = replace(FAKE_COLLECTION, fields=with_tenant_field({"price": "float"}))
        store = QdrantPassageStore(connection, COLLECTION)
        await store.open(spec)
        await store.upsert(embed(PASSAGES), durable=False)
        paths = [(method, path.rpartition("/")[2]) for method, path, _ in wire.sent]
        indexed = {b["field_name"]: b["field_schema"] for _, p, b in wire.sent if "/index" in p}
        assert set(indexed) == {
            "language", "parallel_id", "document_id", "fields._tenant", "fields.price"
        }  # fmt: skip
        assert indexed["fields._tenant"] == {"type": "keyword", "is_tenant": True}
        assert indexed["fields.price"] == {"type": "float"}
        writes = [
            n for n, (method, end) in enumerate(paths) if (method, end[:6]) == ("PUT", "points")
        ]
        assert max(n for n, (_, end) in enumerate(paths) if end[:5] == "index") < min(writes)

    async def test_scores_are_always_rescored_and_writes_are_waited_for(self, store, wire):
        await store.search([NearestQuery(FakeEncoder().encode_queries(["sea"])[0], 3)])
        [[asked]] = [b["searches"] for _, p, b in wire.sent if p.endswith("/query/batch")]
        assert asked["params"]["quantization"] == {"rescore": True, "oversampling": 2.0}
        assert asked["limit"] == 4
        assert all("wait=true" in p for m, p, _ in wire.sent if m == "PUT" and "/points" in p)

    async def test_a_collection_that_another_program_made_is_refused(self, connection):
        await connection.client.create_collection(COLLECTION, vectors_config={})
        with pytest.raises(StoreError, match="Isoglot has not made"):
            await QdrantPassageStore(connection, COLLECTION).open(FAKE_COLLECTION)

    @pytest.mark.parametrize("record", ["{", "[]", '{"schema": 9}', '{"schema": 1}'])
    async def test_a_record_that_cannot_be_read_is_refused(self, connection, record):
        await connection.client.create_collection(
            COLLECTION, vectors_config={}, metadata={"isoglot": record}
        )
        with pytest.raises(StoreError, match="cannot be read"):
            await QdrantPassageStore(connection, COLLECTION).open(FAKE_COLLECTION)

    async def test_a_start_that_was_cut_off_is_finished_by_the_next(self, connection, wire):
        # The collection is made; the server goes away before its indexes are.
        wire.faults = iter([None] * 5 + [raising(httpx.ConnectError)] * 3)
        store = QdrantPassageStore(connection, COLLECTION)
        with pytest.raises(StoreUnavailableError):
            await store.open(FAKE_COLLECTION)
        await store.open(FAKE_COLLECTION)
        await store.upsert(embed(PASSAGES), durable=False)
        assert await store.count() == 2


class TestShelf:
    async def test_the_alias_is_switched_in_one_request(self, connection, wire):
        shelf = QdrantShelf(connection, "passages")
        assert await shelf.served() is None
        assert await shelf.indexed_with("passages@aaa") is None
        for encoder in ("aaa", "bbb"):
            collection = await shelf.collection_for(encoder)
            await shelf.store(collection).open(replace(FAKE_COLLECTION, encoder_id=encoder))
            assert await shelf.indexed_with(collection) is not None
            await shelf.serve(Served(collection, f"bundles/{encoder}"))
            assert await shelf.served() == Served(f"passages@{encoder}", f"bundles/{encoder}")
        changes = [b["actions"] for _, p, b in wire.sent if p.startswith("/collections/aliases")]
        assert [len(actions) for actions in changes] == [1, 2]

    async def test_a_store_stays_with_its_collection_when_the_alias_moves(self, connection):
        shelf = QdrantShelf(connection, "passages")
        old = shelf.store("passages@aaa")
        await old.open(replace(FAKE_COLLECTION, encoder_id="aaa"))
        await old.upsert(embed(PASSAGES), durable=False)
        await shelf.serve(Served("passages@aaa"))
        new = shelf.store("passages@bbb")
        await new.open(replace(FAKE_COLLECTION, encoder_id="bbb"))
        await shelf.serve(Served("passages@bbb"))
        assert (await old.count(), await new.count()) == (2, 0)
        await shelf.close()


async def test_the_census_of_a_moment_ago_serves_searches_until_this_replica_writes(
    store, connection, wire
):
    other = QdrantPassageStore(connection, COLLECTION)
    await other.open(FAKE_COLLECTION)
    assert await store.languages() == {"de": 1, "en": 1}
    await other.delete(["b"])
    already = len(wire.sent)
    assert await store.languages() == {"de": 1, "en": 1}
    assert len(wire.sent) == already
    await store.delete(["a"])
    assert await store.languages() == {}


async def test_building_waits_for_the_server(store):
    report = await store.build()
    assert (report.passages, report.indexed_passages) == (2, 0)
    assert (await store.health()).engine == "qdrant 1.19.0"
