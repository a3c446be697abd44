from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.core.access.tenancy import TENANT_FIELD, TenantStore, tenant_filter, with_tenant_field
from app.core.errors import (
    CountMismatchError,
    InvalidPassageError,
    MalformedFilterError,
    StoreError,
)
from app.core.passages.filters import parse_filter
from app.core.ports import PassageStore
from app.core.types import (
    ANY_PASSAGE,
    FieldKind,
    JsonValue,
    MatchAny,
    NearestQuery,
    Passage,
    PassageFilter,
)
from tests.fakes import FAKE_COLLECTION, FakeEncoder, InMemoryStore, embed

TENANTS = ("acme", "globex")
IDS = [f"p{n}" for n in range(12)]
WORDS = ["tide", "wheel", "bread", "moon", "river", "stone"]
FIELDS: dict[str, FieldKind] = {"shelf": "keyword"}
OPERATIONS = 1000
VERBS = ["put"] * 4 + ["delete", "delete_where", "get", "search", "scan", "count", "hashes"]


@pytest.fixture
async def store() -> InMemoryStore:
    opened = InMemoryStore()
    await opened.open(replace(FAKE_COLLECTION, fields=with_tenant_field(FIELDS)))
    return opened


@pytest.fixture
def acme(store: InMemoryStore) -> TenantStore:
    return TenantStore(store, "acme")


@pytest.fixture
def globex(store: InMemoryStore) -> TenantStore:
    return TenantStore(store, "globex")


def passage(passage_id: str, text: str = "tide", **members: Any) -> Passage:
    return Passage(passage_id, text, "en", **members)


def near(text: str, where: PassageFilter = ANY_PASSAGE) -> NearestQuery:
    return NearestQuery(FakeEncoder().encode_queries([text])[0], limit=50, where=where)


def on_shelf(shelf: str) -> PassageFilter:
    raw: JsonValue = {"must": [{"key": "shelf", "match": {"value": shelf}}]}
    return PassageFilter(condition=parse_filter(raw, FIELDS))


class Model:
    """What one tenant must find: its own writes, as if it were alone."""

    def __init__(self, tenant: str, store: PassageStore, dice: random.Random) -> None:
        self.store = TenantStore(store, tenant)
        self.mine: dict[str, Passage] = {}
        self._tenant = tenant
        self._dice = dice

    def _on(self, shelf: str) -> dict[str, Passage]:
        return {i: p for i, p in self.mine.items() if p.metadata["shelf"] == shelf}

    async def put(self) -> None:
        chosen = self._dice.sample(IDS, k=self._dice.randint(1, 3))
        written = [
            passage(
                passage_id,
                " ".join([*self._dice.choices(WORDS, k=2), self._tenant]),
                metadata={"shelf": self._dice.choice("xy"), "n": self._dice.random()},
                parallel_id="shared",
            )
            for passage_id in chosen
        ]
        await self.store.upsert(embed(written), durable=False)
        self.mine.update({p.id: p for p in written})

    async def delete(self) -> None:
        chosen = self._dice.sample(IDS, k=2)
        assert await self.store.delete(chosen) == len(self.mine.keys() & set(chosen))
        for passage_id in chosen:
            self.mine.pop(passage_id, None)

    async def delete_where(self) -> None:
        doomed = self._on("x")
        assert await self.store.delete_where(on_shelf("x"), expected=len(doomed)) == len(doomed)
        for passage_id in doomed:
            del self.mine[passage_id]

    async def get(self) -> None:
        assert await self.store.get(IDS) == [self.mine[i] for i in IDS if i in self.mine]

    async def search(self) -> None:
        everything, shelf = await self.store.search(
            [near(self._dice.choice(WORDS)), near("tide", on_shelf("y"))]
        )
        assert {hit.passage.id: hit.passage for hit in everything} == self.mine
        assert {hit.passage.id: hit.passage for hit in shelf} == self._on("y")

    async def scan(self) -> None:
        seen: list[Passage] = []
        while page := await self.store.scan(limit=3, after=seen[-1].id if seen else None):
            seen.extend(page)
            assert len(seen) <= len(self.mine)
        assert len(seen) == len(self.mine)
        assert {p.id: p for p in seen} == self.mine

    async def count(self) -> None:
        assert await self.store.count() == len(self.mine)
        assert await self.store.count(on_shelf("x")) == len(self._on("x"))
        assert sum((await self.store.languages()).values()) == len(self.mine)
        assert sum((await self.store.facets("shelf", limit=9)).values()) == len(self.mine)
        assert (await self.store.health()).passages == len(self.mine)

    async def hashes(self) -> None:
        assert (await self.store.content_hashes(IDS)).keys() == self.mine.keys()


@pytest.mark.parametrize("seed", [1, 2])
async def test_tenants_never_see_each_other_over_a_thousand_random_operations(store, seed):
    dice = random.Random(seed)
    tenants = [Model(name, store, dice) for name in TENANTS]
    everyones = passage("p1", "tide of nobody", metadata={"shelf": "x"})
    await store.upsert(embed([everyones]), durable=False)

    for _ in range(OPERATIONS):
        await getattr(dice.choice(tenants), dice.choice(VERBS))()

    for tenant in tenants:
        await tenant.get()
        await tenant.search()
    assert await store.get(["p1"]) == [everyones]
    assert await store.count() == 1 + sum(len(tenant.mine) for tenant in tenants)


async def test_two_tenants_may_use_the_same_id(acme, globex):
    await acme.upsert(embed([passage("a", "tide")]), durable=True)
    await globex.upsert(embed([passage("a", "wheel")]), durable=True)

    assert [p.text for p in await acme.get(["a"])] == ["tide"]
    assert [p.text for p in await globex.get(["a"])] == ["wheel"]


async def test_a_passage_comes_back_as_it_went_in(acme):
    sent = passage("a/b", "tide", metadata={"n": 0.1}, parallel_id="x")
    await acme.upsert(embed([sent]), durable=True)

    assert await acme.get(["a/b"]) == [sent]


async def test_the_whole_store_shows_whose_a_passage_is(store, acme):
    await acme.upsert(embed([passage("a")]), durable=True)

    (stored,) = await store.get(["acme/a"])
    assert stored.metadata == {TENANT_FIELD: "acme"}


@pytest.mark.parametrize("stamp", ["globex", "acme", None, ["acme", "globex"]])
async def test_nobody_stamps_passages_by_hand(acme, globex, stamp):
    forged = passage("b", metadata={TENANT_FIELD: stamp})

    with pytest.raises(InvalidPassageError, match=TENANT_FIELD) as refused:
        await acme.upsert(embed([passage("a"), forged]), durable=True)
    assert refused.value.pointer == f"/1/metadata/{TENANT_FIELD}"
    assert await acme.count() == await globex.count() == 0


async def test_a_passage_of_nobody_under_a_tenants_name_stays_out_of_its_reach(store, acme):
    theirs = passage("acme/a", "wheel")
    await store.upsert(embed([theirs]), durable=True)

    assert await acme.get(["a"]) == []
    assert await acme.content_hashes(["a"]) == {}
    assert await acme.delete(["a"]) == 0
    with pytest.raises(InvalidPassageError, match="cannot be used"):
        await acme.upsert(embed([passage("a")]), durable=True)
    assert await store.get(["acme/a"]) == [theirs]


@pytest.mark.parametrize(
    "raw",
    [
        {"must_not": [{"key": "shelf", "match": {"value": "never"}}]},
        {"should": [{"key": "language", "match": {"value": "en"}}]},
        {"must": [{"must_not": [{"is_empty": {"key": "language"}}]}]},
        {"must_not": [{"must": [{"is_empty": {"key": "language"}}]}]},
    ],
)
async def test_no_filter_reaches_beyond_the_tenant(acme, globex, raw):
    await globex.upsert(embed([passage("a")]), durable=True)
    where = PassageFilter(condition=parse_filter(raw, acme.fields))

    assert await globex.count(where) == 1
    assert await acme.count(where) == 0
    assert await acme.search([near("tide", where)]) == [[]]
    assert await acme.scan(limit=9, where=where) == []
    assert await acme.delete_where(where) == 0
    assert await globex.count() == 1


async def test_a_delete_that_expects_more_than_the_tenant_has_deletes_nothing(acme, globex):
    for tenant in (acme, globex):
        await tenant.upsert(embed([passage("a")]), durable=True)

    with pytest.raises(CountMismatchError):
        await acme.delete_where(ANY_PASSAGE, expected=2)
    assert await acme.count() == await globex.count() == 1


async def test_the_stamp_is_no_field_that_a_tenant_can_ask_for(acme, store):
    with pytest.raises(MalformedFilterError):
        await acme.facets(TENANT_FIELD, limit=9)
    assert await acme.facets("language", limit=9) == {}
    assert TENANT_FIELD not in acme.fields
    assert TENANT_FIELD in store.fields
    assert acme.fields.keys() >= FIELDS.keys()


async def test_hashes_of_the_tenants_own_passages_are_found_under_its_own_ids(acme, globex):
    hashed = [replace(embedded, content_hash="h1") for embedded in embed([passage("a")])]
    await acme.upsert(hashed, durable=True)

    assert await acme.content_hashes(["a", "b"]) == {"a": "h1"}
    assert await globex.content_hashes(["a"]) == {}


async def test_a_tenant_cannot_do_what_concerns_the_others(acme):
    for forbidden in (acme.open(FAKE_COLLECTION), acme.close(), acme.build()):
        with pytest.raises(StoreError, match="'acme' cannot"):
            await forbidden


def test_the_filter_of_a_tenant_holds_for_its_stamp_alone():
    condition = tenant_filter("acme").condition
    assert condition is not None
    assert condition.must == (MatchAny(TENANT_FIELD, frozenset({"acme"})),)


async def test_scores_do_not_depend_on_other_tenants(acme, globex):
    await acme.upsert(embed([passage("a", "tide wheel")]), durable=True)
    [before] = await acme.search([near("tide")])
    await globex.upsert(embed([passage(i, "tide") for i in IDS]), durable=True)

    [after] = await acme.search([near("tide")])
    assert after == before
    assert np.isfinite(after[0].score)
