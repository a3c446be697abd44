"""A program that a test kills: it takes feedback, and says what it has acknowledged."""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from app.adapters.feedback.sql import feedback_log
from tests.app.core.feedback.statements import entry


async def take_until_killed(data_dir: Path, first: int) -> None:
    log = feedback_log(None, data_dir=data_dir, collection="passages")
    await log.open()
    for number in count(first):
        await log.append([entry(passage_id=f"p{number}", relevant=number % 2 == 0)])
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(take_until_killed(Path(sys.argv[1]), int(sys.argv[2])))
