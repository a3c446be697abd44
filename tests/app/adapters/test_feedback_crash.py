"""The feedback log under ``kill -9``: what was acknowledged is there, once."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

from app.adapters.feedback.sql import feedback_log
from app.core.feedback.entries import Kept
from tests.app.core.feedback.statements import entry

ROUNDS = 5


def acknowledged_before_a_kill(data_dir: Path, first: int, seconds: float) -> list[int]:
    command = [sys.executable, "-m", "tests.app.adapters.feedback_child", str(data_dir), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        output = child.stdout.readline()
        time.sleep(seconds)
        child.kill()
        output += child.stdout.read()
    return [int(line) for line in output[: output.rindex("\n")].split()]


async def what_is_kept(data_dir: Path) -> dict[str, bool | None]:
    log = feedback_log(None, data_dir=data_dir, collection="passages")
    await log.open()
    found = [e for _, e in await log.read(limit=1_000_000)]
    labels = {e.statement.passage_id: e.relevant for e in found}
    assert len(labels) == len(found)
    # Who got no answer sends again: what was kept counts once.
    [kept] = await log.append([entry(passage_id="p0", relevant=False)])
    assert kept == Kept(is_new=False, relevant=True)
    await log.close()
    return labels


def test_no_acknowledged_label_is_lost_in_five_kills(tmp_path):
    acknowledged: list[int] = []
    chance = random.Random(7)
    for number in range(ROUNDS):
        first = number * 1_000_000
        acknowledged += acknowledged_before_a_kill(tmp_path, first, chance.uniform(0.05, 0.4))
        kept = asyncio.run(what_is_kept(tmp_path))
        for n in acknowledged:
            assert kept[f"p{n}"] is (n % 2 == 0)
        # At most the one that was being written is there without having been acknowledged.
        assert len(kept) <= len(acknowledged) + number + 1
    assert len(acknowledged) > 5 * ROUNDS
