"""What is on the disk when the power goes: what was synced by then, and pages written by chance."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from app.adapters.edge.directory import LOCK_FILE
from app.adapters.edge.log import LOG_DIRECTORY
from app.adapters.edge.store import EdgePassageStore
from app.adapters.whole_files import sync as sync_file
from app.core.types import ANY_PASSAGE, Passage
from tests.fakes import FAKE_COLLECTION, embed

EARLIER = [Passage(f"e{n}", f"earlier passage {n}") for n in range(40)]
PASSAGES = [Passage(f"p{n}", f"passage number {n}") for n in range(300)]
PAGE = 4096


class Disk:
    """A copy of a collection that holds only what has been synced since it was made."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.memory = root
        self.root = root.with_name("disk")
        shutil.copytree(root, self.root, ignore=shutil.ignore_patterns(LOCK_FILE))

        def sync(path: Path) -> None:
            sync_file(path)
            if path.is_file():
                self.take(path)

        monkeypatch.setattr("app.adapters.edge.log.sync", sync)

    def take(self, path: Path) -> None:
        """Let a file reach the disk."""
        target = self.root / path.relative_to(self.memory)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)

    def take_some(self, seed: int) -> None:
        """Let some pages of some files reach the disk, as a kernel does when it likes."""
        draw = random.Random(seed)
        for path in sorted(self.memory.rglob("*")):
            if not path.is_file() or LOG_DIRECTORY in path.parts or draw.random() < 0.5:
                continue
            before, now = self.root / path.relative_to(self.memory), path.read_bytes()
            if not before.exists() or before.stat().st_size != len(now):
                self.take(path)
                continue
            pages = bytearray(before.read_bytes())
            for start in range(0, len(now), PAGE):
                if draw.random() < 0.5:
                    pages[start : start + PAGE] = now[start : start + PAGE]
            before.write_bytes(pages)

    async def passages(self) -> list[Passage]:
        """Return what is found when the power has come back, in the order of ids."""
        copy = self.root.with_name("restarted")
        shutil.copytree(self.root, copy)
        store = EdgePassageStore(copy)
        await store.open(FAKE_COLLECTION)
        found = await store.scan(limit=1_000)
        await store.close()
        return sorted(found, key=lambda passage: passage.id)


@pytest.fixture
def root(store_directory: Path) -> Path:
    return store_directory / "collection"


async def opened(root: Path, **settings: int) -> EdgePassageStore:
    """Return a store that holds ``EARLIER``, all of them flushed."""
    store = EdgePassageStore(root)
    await store.open(FAKE_COLLECTION)
    await store.upsert(embed(EARLIER), durable=False)
    await store.close()
    again = EdgePassageStore(root, **settings)
    await again.open(FAKE_COLLECTION)
    return again


def ordered(*lists: list[Passage]) -> list[Passage]:
    return sorted((passage for each in lists for passage in each), key=lambda each: each.id)


async def test_an_ordinary_write_may_be_lost_for_a_while(root, monkeypatch):
    store = await opened(root)
    disk = Disk(root, monkeypatch)
    await store.upsert(embed(PASSAGES), durable=False)
    assert await disk.passages() == ordered(EARLIER)
    await store.close()


async def test_a_durable_write_survives_and_so_does_what_was_written_before_it(root, monkeypatch):
    store = await opened(root)
    disk = Disk(root, monkeypatch)
    await store.upsert(embed(PASSAGES[:100]), durable=False)
    await store.upsert(embed(PASSAGES[100:]), durable=True)
    assert await disk.passages() == ordered(EARLIER, PASSAGES)
    await store.close()


async def test_writes_are_synced_now_and_then(root, monkeypatch):
    store = await opened(root, sync_every=5)
    disk = Disk(root, monkeypatch)
    for passage in PASSAGES[:9]:
        await store.upsert(embed([passage]), durable=False)
    assert await disk.passages() == ordered(EARLIER, PASSAGES[:5])
    await store.close()


async def test_a_deletion_by_filter_survives(root, monkeypatch):
    store = await opened(root)
    disk = Disk(root, monkeypatch)
    assert await store.delete_where(ANY_PASSAGE) == len(EARLIER)
    assert await disk.passages() == []
    await store.close()


@pytest.mark.parametrize("seed", range(8))
async def test_pages_that_reached_the_disk_by_chance_do_no_harm(root, monkeypatch, seed):
    store = await opened(root)
    disk = Disk(root, monkeypatch)
    replaced = [Passage(passage.id, f"{passage.text}, edited") for passage in EARLIER[:20]]
    await store.upsert(embed([*PASSAGES, *replaced]), durable=False)
    await store.delete([passage.id for passage in EARLIER[20:]])
    await store.upsert(embed(PASSAGES[:1]), durable=True)
    disk.take_some(seed)
    assert await disk.passages() == ordered(PASSAGES, replaced)
    await store.close()
