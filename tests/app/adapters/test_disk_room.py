"""A disk that fills up: the embedded store refuses what the engine would not survive."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.adapters.disk_room import require_room, tree_bytes
from app.adapters.edge.session import CHUNK
from app.adapters.edge.store import EdgePassageStore
from app.core.errors import StorageFullError
from app.core.types import Passage
from tests.fakes import FAKE_COLLECTION, embed

MIB = 1 << 20
RESERVE = 100 * MIB


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the disk have so many bytes free, one after the other; the last one stays."""

    def set_free(*sizes: int) -> None:
        left = list(sizes)

        def usage(_: Path) -> SimpleNamespace:
            return SimpleNamespace(free=left.pop(0) if len(left) > 1 else left[0])

        monkeypatch.setattr(shutil, "disk_usage", usage)

    return set_free


def passages(count: int) -> list[Passage]:
    return [Passage(f"p{n}", f"passage number {n}") for n in range(count)]


async def opened(root: Path, **options: int) -> EdgePassageStore:
    store = EdgePassageStore(root, reserve=RESERVE, **options)
    await store.open(FAKE_COLLECTION)
    return store


def test_room_is_asked_for_where_the_directory_is_going_to_be(tmp_path):
    require_room(tmp_path / "not" / "there", reserve=1)
    with pytest.raises(StorageFullError, match=r"Of the disk of .*there .* MiB are free"):
        require_room(tmp_path / "not" / "there", reserve=1 << 60)


def test_the_size_of_a_tree_is_what_it_takes_on_the_disk(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "full").write_bytes(b"x" * MIB)
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(100 * MIB)
    assert MIB <= tree_bytes(tmp_path) < 2 * MIB


async def test_a_full_disk_refuses_passages_and_nothing_else(store_directory, free):
    store = await opened(store_directory)
    await store.upsert(embed(passages(3)), durable=True)
    free(RESERVE - 1)
    with pytest.raises(StorageFullError, match="99 MiB are free, and 100 MiB have to be"):
        await store.upsert(embed([Passage("late", "one more")]), durable=True)
    assert await store.get(["late"]) == []
    assert await store.delete(["p0"]) == 1
    assert await store.count() == 2
    free(RESERVE)
    await store.upsert(embed([Passage("late", "one more")]), durable=True)
    assert await store.count() == 3
    await store.close()


async def test_a_disk_that_fills_up_in_the_middle_keeps_what_is_stored(store_directory, free):
    store = await opened(store_directory)
    free(RESERVE, RESERVE - 1)
    with pytest.raises(StorageFullError):
        await store.upsert(embed(passages(CHUNK + 1)), durable=True)
    assert await store.count() == CHUNK
    await store.close()


async def test_a_full_disk_gets_no_new_collection(store_directory, free):
    free(RESERVE - 1)
    with pytest.raises(StorageFullError):
        await opened(store_directory / "new")
    assert not (store_directory / "new").exists()


async def test_a_full_disk_opens_a_collection_that_is_there(store_directory, free):
    await (await opened(store_directory)).close()
    free(0)
    await (await opened(store_directory)).close()


async def test_an_index_is_built_only_where_its_copy_has_room(store_directory, free):
    store = await opened(store_directory, index_threshold=10)
    await store.upsert(embed(passages(20)), durable=True)
    free(RESERVE + MIB)
    with pytest.raises(StorageFullError):
        await store.build()
    assert (await store.health()).indexed_passages == 0
    free(RESERVE + 10_000 * MIB)
    assert (await store.build()).indexed_passages == 20
    await store.close()
