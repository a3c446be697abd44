"""What every feedback log does: in memory, in SQLite, and in PostgreSQL.

For PostgreSQL name an empty database in ``ISOGLOT_TEST_POSTGRES``.
"""

import asyncio
import dataclasses
import os
import uuid

import pytest

from app.adapters.feedback.sql import feedback_log
from app.core.errors import FeedbackLogError
from app.core.feedback.entries import FeedbackLog, Kept
from tests.app.core.feedback.statements import entry
from tests.fakes import InMemoryFeedbackLog

POSTGRES = os.environ.get("ISOGLOT_TEST_POSTGRES")


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def make_log(request, tmp_path):
    """Opens the same log again and again."""
    if request.param == "postgres" and POSTGRES is None:
        pytest.skip("ISOGLOT_TEST_POSTGRES names no database")
    collection, memory = uuid.uuid4().hex, InMemoryFeedbackLog()
    opened = []

    async def make(name=collection):
        log: FeedbackLog
        if request.param == "memory":
            log = memory if name == collection else InMemoryFeedbackLog()
        else:
            url = POSTGRES if request.param == "postgres" else None
            log = feedback_log(url, data_dir=tmp_path / "data", collection=name)
        await log.open()
        opened.append(log)
        return log

    yield make
    for log in opened:
        await log.close()


async def test_entries_come_back_as_they_were_in_their_order(make_log):
    log = await make_log()
    entries = [
        entry(passage_id="a", relevant=True),
        entry(passage_id="b'; --", relevant=False, source="judged", tenant="acme"),
        entry(passage_id="ελ", relevant=None, source="click"),
    ]

    kept = await log.append(entries)

    assert kept == [Kept(True, True), Kept(True, False), Kept(True, None)]
    assert [found for _, found in await log.read()] == entries
    numbers = [number for number, _ in await log.read()]
    assert numbers == sorted(numbers)


async def test_reading_goes_on_after_a_number(make_log):
    log = await make_log()
    await log.append([entry(passage_id=str(n)) for n in range(5)])

    first = await log.read(limit=3)
    rest = await log.read(after=first[-1][0], limit=3)

    assert [e.statement.passage_id for _, e in [*first, *rest]] == list("01234")
    assert await log.read(after=rest[-1][0]) == []


async def test_the_first_label_and_the_first_click_of_a_hit_are_kept(make_log):
    log = await make_log()

    kept = await log.append(
        [
            entry(relevant=True),
            entry(relevant=False, source="judged"),
            entry(relevant=None, source="click"),
            entry(relevant=None, source="click"),
            entry(relevant=False, query_id="f" * 32),
            entry(relevant=False, tenant="acme"),
        ]
    )

    assert kept == [
        Kept(True, True),
        Kept(False, True),
        Kept(True, None),
        Kept(False, None),
        Kept(True, False),
        Kept(True, False),
    ]
    assert len(await log.read()) == 4


async def test_a_replay_counts_once_across_a_restart(make_log):
    log = await make_log()
    await log.append([entry(relevant=True)])
    await log.close()
    await log.close()

    again = await make_log()

    assert await again.append([entry(relevant=False)]) == [Kept(False, True)]
    assert len(await again.read()) == 1


async def test_many_at_once_keep_each_label_once(make_log):
    logs = [await make_log(), await make_log()]

    results = await asyncio.gather(
        *(logs[n % 2].append([entry(passage_id=str(n % 10))]) for n in range(40))
    )

    assert sum(kept.is_new for [kept] in results) == 10
    assert len(await logs[0].read()) == 10


async def test_a_collection_sees_its_own_entries(make_log):
    log, other = await make_log(), await make_log(uuid.uuid4().hex)
    await log.append([entry()])

    assert await other.read() == []
    assert (await other.append([entry()]))[0].is_new


async def test_a_closed_log_says_so(make_log):
    log = await make_log()
    await log.close()

    with pytest.raises(FeedbackLogError, match="not open"):
        await log.append([dataclasses.replace(entry())])
