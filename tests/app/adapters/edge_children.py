"""Programs that tests run in processes of their own, to kill them."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Coroutine
from itertools import count
from pathlib import Path
from typing import Any

from app.adapters.edge.store import EdgePassageStore
from app.core.errors import StoreError
from app.core.types import Passage
from tests.fakes import FAKE_COLLECTION, embed


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def numbered_passage(number: int) -> Passage:
    return Passage(f"p{number}", f"passage number {number}", "en", None, {"number": number})


async def open_and_say(directory: Path) -> None:
    """Open the store, or say why not."""
    store = EdgePassageStore(directory)
    try:
        await store.open(FAKE_COLLECTION)
    except StoreError as error:
        say(f"{type(error).__name__}: {error}")
    else:
        say("open")
        await asyncio.sleep(60)


async def write_until_killed(directory: Path, first: int) -> None:
    """Write passages in small batches, and say which have been acknowledged."""
    store = EdgePassageStore(directory, flush_every=100)
    await store.open(FAKE_COLLECTION)
    await write(store, first)


async def write_and_build_until_killed(directory: Path, first: int) -> None:
    """Write as above, while the index is built over and over."""
    store = EdgePassageStore(directory, index_threshold=0, flush_every=100)
    await store.open(FAKE_COLLECTION)
    writer = asyncio.create_task(write(store, first))
    while not writer.done():
        await store.build()
        await asyncio.sleep(0)
    await writer


async def write(store: EdgePassageStore, first: int) -> None:
    for start in count(first, 8):
        numbers = range(start, start + 8)
        await store.upsert(embed([numbered_passage(n) for n in numbers]), durable=start % 5 == 0)
        say(" ".join(map(str, numbers)))


async def create_until_killed(directory: Path) -> None:
    """Open a directory that is new; there is nothing to wait for afterwards."""
    say("ready")
    store = EdgePassageStore(directory)
    await store.open(FAKE_COLLECTION)
    await asyncio.sleep(60)


async def start_a_child_that_ends_with_us(_directory: Path) -> None:
    """Start a program that would run for a minute, and say its process id once it is under way."""
    program = (
        "import os, sys, time; from app.adapters.edge.build import end_with_parent; "
        "end_with_parent(os.getppid()); sys.stdout.write('ready\\n'); sys.stdout.flush(); "
        "time.sleep(60)"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE)
    assert child.stdout is not None
    await child.stdout.readline()
    say(str(child.pid))
    await child.wait()


def main() -> None:
    program, directory, *numbers = sys.argv[1:]
    programs: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
        "open": open_and_say,
        "write": write_until_killed,
        "write and build": write_and_build_until_killed,
        "create": create_until_killed,
        "parent": start_a_child_that_ends_with_us,
    }
    asyncio.run(programs[program](Path(directory), *map(int, numbers)))


if __name__ == "__main__":
    main()
