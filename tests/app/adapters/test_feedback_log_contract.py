"""What every feedback log does: in memory, in SQLite, and in PostgreSQL."""

import asyncio
import dataclasses
import uuid

import pytest

from app.adapters.feedback.sql import feedback_log
from app.core.errors import FeedbackLogError
from app.core.feedback.entries import FeedbackLog, Kept, Label
from tests.app.core.feedback.statements import entry
from tests.fakes import InMemoryFeedbackLog


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def make_log(request, tmp_path):
    """Opens the same log again and again."""
    url = request.getfixturevalue("postgres").url if request.param == "postgres" else None
    collection, memory = uuid.uuid4().hex, InMemoryFeedbackLog()
    opened = []

    async def make(name=collection):
        log: FeedbackLog
        if request.param == "memory":
            log = memory if name == collection else InMemoryFeedbackLog()
        else:
            log = feedback_log(url, data_dir=tmp_path / "data", collection=name)
        await log.open()
        opened.append(log)
        return log

    yield make
    for log in opened:
        await log.close()


def taken(relevant: bool | None, before: Label | None = None) -> Kept:
    return Kept(is_taken=True, relevant=relevant, before=before)


def left(relevant: bool | None) -> Kept:
    return Kept(is_taken=False, relevant=relevant)


async def test_entries_come_back_as_they_were_in_their_order(make_log):
    log = await make_log()
    entries = [
        entry(passage_id="a", relevant=True),
        entry(passage_id="b'; --", relevant=False, source="judged", tenant="acme"),
        entry(passage_id="ελ", relevant=None, source="click"),
    ]

    kept = await log.append(entries)

    assert kept == [taken(True), taken(False), taken(None)]
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


async def test_a_hit_has_one_label_and_one_click(make_log):
    log = await make_log()

    kept = await log.append(
        [
            entry(relevant=True),
            entry(relevant=True),
            entry(relevant=None, source="click"),
            entry(relevant=None, source="click"),
            entry(relevant=False, query_id="f" * 32),
            entry(relevant=False, tenant="acme"),
        ]
    )

    assert kept == [
        taken(True),
        left(True),
        taken(None),
        left(None),
        taken(False),
        taken(False),
    ]
    assert len(await log.read()) == 4


async def test_the_latest_label_counts_in_the_place_of_the_first(make_log):
    log = await make_log()
    await log.append([entry(passage_id="a", relevant=True), entry(passage_id="b")])
    [(place, _), _] = await log.read()
    later = dataclasses.replace(entry(passage_id="a", relevant=False), received=7.5)

    assert await log.append([later]) == [taken(False, before=Label("explicit", True))]

    assert (await log.read())[0] == (place, later)
    assert len(await log.read()) == 2


async def test_a_label_that_is_taken_back_is_gone_until_there_is_another(make_log):
    log = await make_log()
    back = entry(relevant=None)

    kept = await log.append([back, entry(relevant=True), back, back])

    stood = Label("explicit", True)
    assert kept == [left(None), taken(True), taken(None, before=stood), left(None)]
    assert await log.read() == []
    assert await log.append([entry(relevant=False)]) == [taken(False)]
    assert [found.relevant for _, found in await log.read()] == [False]


async def test_a_click_stays_when_the_label_beside_it_is_taken_back(make_log):
    log = await make_log()

    await log.append(
        [entry(relevant=True), entry(relevant=None, source="click"), entry(relevant=None)]
    )

    assert [found.source for _, found in await log.read()] == ["click"]


async def test_an_assessor_overrules_a_user_and_not_the_other_way_round(make_log):
    log = await make_log()
    judged = {"source": "judged"}

    kept = await log.append(
        [
            entry(relevant=True),
            entry(relevant=True, **judged),
            entry(relevant=False),
            entry(relevant=None),
            entry(relevant=False, **judged),
            entry(relevant=None, **judged),
        ]
    )

    assert kept == [
        taken(True),
        taken(True, before=Label("explicit", True)),
        left(True),
        left(True),
        taken(False, before=Label("judged", True)),
        taken(None, before=Label("judged", False)),
    ]


async def test_a_replay_counts_once_across_a_restart(make_log):
    log = await make_log()
    await log.append([entry(relevant=True), entry(passage_id="b"), entry(passage_id="b")])
    await log.append([entry(passage_id="b", relevant=None)])
    await log.close()
    await log.close()

    again = await make_log()

    assert await again.append([entry(relevant=True)]) == [left(True)]
    assert await again.append([entry(passage_id="b", relevant=None)]) == [left(None)]
    assert len(await again.read()) == 1


async def test_two_who_change_the_same_labels_at_once_wait_for_each_other(make_log):
    logs = [await make_log(), await make_log()]
    hits = [str(n) for n in range(30)]

    results = await asyncio.gather(
        *(
            logs[n % 2].append(
                [entry(passage_id=p, relevant=n % 3 == 0) for p in (hits, hits[::-1])[n % 2]]
            )
            for n in range(12)
        )
    )

    added = sum(kept.is_taken and kept.before is None for result in results for kept in result)
    found = await logs[0].read()
    assert added == len(found) == len(hits)
    assert len({e.relevant for _, e in found}) == 1  # the last one's, of every hit


async def test_many_at_once_keep_each_label_once(make_log):
    logs = [await make_log(), await make_log()]

    results = await asyncio.gather(
        *(logs[n % 2].append([entry(passage_id=str(n % 10))]) for n in range(40))
    )

    assert sum(kept.is_taken for [kept] in results) == 10
    assert len(await logs[0].read()) == 10


async def test_a_collection_sees_its_own_entries(make_log):
    log, other = await make_log(), await make_log(uuid.uuid4().hex)
    await log.append([entry()])

    assert await other.read() == []
    assert (await other.append([entry()]))[0].is_taken


async def test_a_closed_log_says_so(make_log):
    log = await make_log()
    await log.close()

    with pytest.raises(FeedbackLogError, match="not open"):
        await log.append([dataclasses.replace(entry())])
