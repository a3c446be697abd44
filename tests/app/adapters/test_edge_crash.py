"""The embedded store under ``kill -9``: what was acknowledged is there afterwards."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.adapters.edge.store import EdgePassageStore
from app.core.types import NearestQuery
from tests.app.adapters.edge_children import numbered_passage
from tests.fakes import FAKE_COLLECTION, embed
from tests.processes import is_running

ROUNDS = 5


@contextmanager
def killed_child(program: str, directory: Path, *arguments: int) -> Iterator[subprocess.Popen[str]]:
    """Run a program of ``edge_children``; it is killed at the end of the block."""
    command = (sys.executable, "-m", "tests.app.adapters.edge_children", program, str(directory))
    child = subprocess.Popen([*command, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    with child:
        try:
            yield child
        finally:
            child.kill()


def read_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


async def assert_holds(directory: Path, numbers: list[int]) -> None:
    store = EdgePassageStore(directory)
    await store.open(FAKE_COLLECTION)
    expected = [numbered_passage(number) for number in numbers]
    assert await store.get([passage.id for passage in expected]) == expected
    sample = embed(expected[-20:])
    answers = await store.search([NearestQuery(embedded.vector, 1) for embedded in sample])
    assert [hits[0].passage for hits in answers] == [embedded.passage for embedded in sample]
    await store.close()


@pytest.mark.parametrize("program", ["write", "write and build"])
def test_no_acknowledged_passage_is_lost_in_five_kills(store_directory, program):
    acknowledged: list[int] = []
    chance = random.Random(11)
    for _ in range(ROUNDS):
        first = max(acknowledged, default=-1) + 1_000
        with killed_child(program, store_directory, first) as child:
            output = read_line(child)
            time.sleep(chance.uniform(0.05, 0.7))
            child.kill()
            assert child.stdout is not None
            output += child.stdout.read()
        complete = output[: output.rindex("\n")]
        acknowledged += map(int, complete.split())
        asyncio.run(assert_holds(store_directory, acknowledged))
        assert len(list(store_directory.glob("shard-*"))) == 1
    assert len(acknowledged) > 8 * ROUNDS


def test_a_creation_can_be_killed_at_any_moment(store_directory):
    async def use(directory: Path) -> None:
        store = EdgePassageStore(directory)
        await store.open(FAKE_COLLECTION)
        await store.upsert(embed([numbered_passage(1)]), durable=True)
        assert await store.languages() == {"en": 1}
        await store.close()

    for attempt in range(ROUNDS):
        directory = store_directory / f"attempt{attempt}"
        with killed_child("create", directory) as child:
            assert read_line(child) == "ready\n"
            time.sleep(0.004 * attempt)
        asyncio.run(use(directory))
        assert len(list(directory.glob("shard-*"))) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_builder_ends_with_the_process_that_started_it(tmp_path):
    with killed_child("parent", tmp_path) as parent:
        builder = int(read_line(parent))
        assert is_running(builder)
    deadline = time.monotonic() + 60
    while is_running(builder):
        assert time.monotonic() < deadline, "the builder outlived its parent, who was killed"
        time.sleep(0.01)


def test_a_builder_does_not_start_for_a_process_that_is_gone(tmp_path):
    with killed_child("open", tmp_path) as gone:
        read_line(gone)
    command = (sys.executable, "-m", "app.adapters.edge.build", str(tmp_path / "x"), "32")
    builder = subprocess.run([*command, str(gone.pid)], capture_output=True, text=True, check=False)
    assert builder.returncode == 1
    assert "is gone" in builder.stderr
