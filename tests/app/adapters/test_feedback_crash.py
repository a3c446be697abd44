"""The feedback log under ``kill -9``: what was acknowledged is there, once, as it was last said."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.adapters.feedback.sql import feedback_log
from app.core.feedback.entries import Kept
from tests.app.adapters.feedback_child import ENDINGS
from tests.app.core.feedback.statements import entry
from tests.postgres_server import PostgresServer

ROUNDS = 5


def acknowledged_before_a_kill(
    data_dir: Path, first: int, chance: random.Random, server: PostgresServer | None
) -> list[int]:
    """Kill who writes, and the database with it, at any moment after some labels."""
    command = [sys.executable, "-m", "tests.app.adapters.feedback_child", str(data_dir), str(first)]
    command += [server.url] if server else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        output = "".join(child.stdout.readline() for _ in range(chance.randint(6, 30)))
        time.sleep(chance.uniform(0.0, 0.02))
        if server is not None:
            server.kill()
        child.kill()
        output += child.stdout.read()
    if server is not None:
        server.start()
    return [int(line) for line in output[: output.rindex("\n")].split()]


async def what_is_kept(data_dir: Path, url: str | None) -> dict[str, bool | None]:
    log = feedback_log(url, data_dir=data_dir, collection="passages")
    await log.open()
    found = [e for _, e in await log.read(limit=1_000_000)]
    labels = {e.statement.passage_id: e.relevant for e in found}
    assert len(labels) == len(found)
    # Who got no answer sends again: what was kept counts once.
    [kept] = await log.append([entry(passage_id="p0", relevant=True)])
    assert kept == Kept(is_taken=False, relevant=True)
    await log.close()
    return labels


def assert_nothing_is_lost_in_kills(data_dir: Path, server: PostgresServer | None) -> None:
    acknowledged: list[int] = []
    chance = random.Random(7)
    for number in range(ROUNDS):
        first = number * 1_000_000
        acknowledged += acknowledged_before_a_kill(data_dir, first, chance, server)
        kept = asyncio.run(what_is_kept(data_dir, server.url if server else None))
        for n in acknowledged:
            assert kept.get(f"p{n}") is ENDINGS[n % 3]
        # At most the one that was being written is there without having been acknowledged.
        standing = [n for n in acknowledged if ENDINGS[n % 3] is not None]
        assert len(standing) <= len(kept) <= len(standing) + number + 1
    assert len(acknowledged) > 5 * ROUNDS  # or who wrote ended before it was killed


def test_no_acknowledged_label_is_lost_in_five_kills(tmp_path):
    assert_nothing_is_lost_in_kills(tmp_path, None)


@pytest.mark.postgres
def test_none_is_lost_in_five_kills_of_postgresql(tmp_path, postgres):
    assert_nothing_is_lost_in_kills(tmp_path, postgres)
