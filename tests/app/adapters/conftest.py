"""Fixtures for the tests of adapters."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres_server import PostgresServer, postgres_server

MEMORY_DISK = Path("/dev/shm")
SPACE_FOR_STORES = 2 << 30


@pytest.fixture
def store_directory(tmp_path: Path) -> Iterator[Path]:
    """A place for embedded stores, in memory where there is room: creating one waits for a disk
    forty times, and no test here is about the disk."""
    if not MEMORY_DISK.is_dir() or shutil.disk_usage(MEMORY_DISK).free < SPACE_FOR_STORES:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY_DISK, prefix="isoglot-test-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests of a run; skips where none is installed."""
    yield from postgres_server()
