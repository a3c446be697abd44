"""Files and directories of a store, with what the operating system raises as a ``StoreError``."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec

from app.adapters.whole_files import sync, write_whole
from app.core.errors import StoreError

P = ParamSpec("P")


@contextmanager
def file_errors(action: str) -> Iterator[None]:
    """Translate what the operating system raises.

    Args:
        action: What was tried, to complete "Cannot ...".

    Raises:
        StoreError: An ``OSError`` was raised inside.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(f"Cannot {action}: {error}") from error


def copy_tree(source: Path, target: Path) -> None:
    """Copy a directory that nobody writes to meanwhile.

    Raises:
        StoreError: It cannot be copied, for want of space for example.
    """
    with file_errors(f"copy {source} to {target}"):
        shutil.copytree(source, target)


def remove_tree(root: Path) -> None:
    """Remove a directory as far as that is possible; the next ``open`` tries again."""
    shutil.rmtree(root, ignore_errors=True)


def replace_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all, so that it survives loss of power.

    Raises:
        StoreError: It cannot be written; what was there stays.
    """
    with file_errors(f"write {path}"):
        write_whole(path, text)


def sync_tree(root: Path) -> None:
    """Make all files and directories below ``root`` survive loss of power.

    Raises:
        StoreError: A file cannot be read.
    """
    with file_errors(f"write {root} to disk"):
        for directory, _, files in os.walk(root):
            for path in [*(Path(directory, name) for name in files), Path(directory)]:
                sync(path)


async def in_thread(work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Run work on files in a thread and return when it has ended, even when cancelled."""
    running = asyncio.create_task(asyncio.to_thread(work, *args, **kwargs))
    try:
        await asyncio.shield(running)
    finally:
        await asyncio.gather(running, return_exceptions=True)
