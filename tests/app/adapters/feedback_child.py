"""A program that a test kills: it takes feedback, and says what it has acknowledged.

Every third label is changed before it is acknowledged, and every other third is taken back.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from app.adapters.feedback.sql import feedback_log
from tests.app.core.feedback.statements import entry

ENDINGS: dict[int, bool | None] = {0: True, 1: False, 2: None}
"""Number modulo three to the label that counts in the end."""


async def take_until_killed(data_dir: Path, first: int, url: str | None) -> None:
    log = feedback_log(url, data_dir=data_dir, collection="passages")
    await log.open()
    for number in count(first):
        passage_id = f"p{number}"
        await log.append([entry(passage_id=passage_id, relevant=True)])
        await log.append([entry(passage_id=passage_id, relevant=ENDINGS[number % 3])])
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    directory, start, *database = sys.argv[1:]
    asyncio.run(take_until_killed(Path(directory), int(start), database[0] if database else None))
