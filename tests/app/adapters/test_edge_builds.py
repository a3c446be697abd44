import asyncio

import numpy as np

from app.adapters.edge import builds as edge_builds
from app.adapters.edge.builds import SettledBuilds
from app.adapters.edge.store import EdgePassageStore
from app.core.errors import StoreError, StoreUnavailableError
from app.core.types import EmbeddedPassage, Passage
from tests.fakes import FAKE_COLLECTION, FAKE_DIM

SETTLE = 0.02


class Builder:
    """Counts builds; raises what it is given, one for each build."""

    def __init__(self, *failures: Exception) -> None:
        self.built = 0
        self._failures = list(failures)
        self.called = asyncio.Event()

    async def build(self) -> bool:
        self.built += 1
        self.called.set()
        if self._failures:
            raise self._failures.pop(0)
        return True


async def until(condition, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  only tests wait for it
            await asyncio.sleep(0.005)


async def test_what_was_written_before_the_start_is_built():
    builder = Builder()
    builds = SettledBuilds(builder.build, SETTLE)
    builds.begin()
    await until(lambda: builder.built == 1)
    await builds.end()


async def test_nothing_is_built_while_writing_goes_on():
    builder = Builder()
    builds = SettledBuilds(builder.build, 0.6)
    builds.begin()
    for _ in range(20):
        builds.written()
        await asyncio.sleep(0.04)
    assert builder.built == 0
    await until(lambda: builder.built == 1)
    await builds.end()


async def test_nothing_is_built_unless_that_is_wanted():
    builder = Builder()
    builds = SettledBuilds(builder.build, None)
    builds.begin()
    builds.written()
    await asyncio.sleep(3 * SETTLE)
    assert builder.built == 0
    await builds.end()


async def test_a_build_that_failed_is_tried_again(monkeypatch):
    monkeypatch.setattr(edge_builds, "RETRY_SECONDS", SETTLE)
    builder = Builder(StoreError("the disk is full"))
    builds = SettledBuilds(builder.build, SETTLE)
    builds.begin()
    await until(lambda: builder.built == 2)
    await builds.end()


async def test_a_store_that_is_closed_is_left_alone():
    builder = Builder(StoreUnavailableError("closed"))
    builds = SettledBuilds(builder.build, SETTLE)
    builds.begin()
    await until(lambda: builder.built == 1)
    builds.written()
    await asyncio.sleep(3 * SETTLE)
    assert builder.built == 1
    await builds.end()


async def test_a_store_indexes_itself_once_there_is_enough(tmp_path):
    store = EdgePassageStore(tmp_path / "c", index_threshold=200, settle_seconds=SETTLE)
    await store.open(FAKE_COLLECTION)
    vectors = np.random.default_rng(0).standard_normal((400, FAKE_DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    embedded = [EmbeddedPassage(Passage(f"p{n}", "text"), v) for n, v in enumerate(vectors)]
    await store.upsert(embedded[:100], durable=False)
    await asyncio.sleep(3 * SETTLE)
    assert (await store.health()).indexed_passages == 0
    await store.upsert(embedded[100:], durable=False)
    async with asyncio.timeout(60):
        while not (await store.health()).indexed_passages:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.05)
    await store.close()


async def test_a_store_can_be_closed_in_the_middle_of_its_own_build(tmp_path):
    store = EdgePassageStore(tmp_path / "c", index_threshold=0, settle_seconds=0.0)
    await store.open(FAKE_COLLECTION)
    vector = np.ones(FAKE_DIM, np.float32) / np.float32(np.sqrt(FAKE_DIM))
    await store.upsert([EmbeddedPassage(Passage("a", "text"), vector)], durable=False)
    await asyncio.sleep(0.05)
    await store.close()
    await store.open(FAKE_COLLECTION)
    assert [p.id for p in await store.get(["a"])] == ["a"]
    await store.close()
