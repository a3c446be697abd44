import asyncio
from itertools import pairwise

import numpy as np
import pytest

from app.adapters.edge.searches import (
    ANSWERED_A_TURN,
    MAX_SHARED,
    SharedSearches,
)
from app.core.errors import StoreError
from app.core.types import NearestQuery, Passage, ScoredPassage


def query(limit: int) -> NearestQuery:
    """A query that is told from others by its limit."""
    return NearestQuery(np.ones(2, np.float32), limit=limit)


class Engine:
    """Answers a query with one passage that is named after its limit; some limits fail."""

    def __init__(self, *, fails: int | None = None) -> None:
        self.calls: list[list[int]] = []
        self._fails = fails

    def search(self, queries):
        limits = [q.limit for q in queries]
        self.calls.append(limits)
        if self._fails in limits:
            raise StoreError(f"limit {self._fails} fails")
        return [[ScoredPassage(Passage(str(n), ""), 1.0)] for n in limits]


def ids(answers) -> list[str]:
    return [found[0].passage.id for found in answers]


async def test_searches_that_come_together_share_a_call():
    engine = Engine()
    shared = SharedSearches(engine.search)
    first, second = await asyncio.gather(
        shared.search([query(1), query(2)]), shared.search([query(3)])
    )
    assert engine.calls == [[1, 2, 3]]
    assert (ids(first), ids(second)) == (["1", "2"], ["3"])


async def test_a_search_that_comes_later_has_a_call_of_its_own():
    engine = Engine()
    shared = SharedSearches(engine.search)
    await shared.search([query(1)])
    await shared.search([query(2)])
    assert engine.calls == [[1], [2]]


async def test_no_call_grows_beyond_what_the_loop_can_wait_for():
    engine = Engine()
    shared = SharedSearches(engine.search)
    count = MAX_SHARED + 3
    answers = await asyncio.gather(*(shared.search([query(n)]) for n in range(count)))
    assert [len(call) for call in engine.calls] == [MAX_SHARED, 3]
    assert [ids(a) for a in answers] == [[str(n)] for n in range(count)]


async def test_one_caller_may_have_more_queries_than_are_shared():
    engine = Engine()
    await SharedSearches(engine.search).search([query(n) for n in range(MAX_SHARED + 1)])
    assert [len(call) for call in engine.calls] == [MAX_SHARED + 1]


async def test_what_nobody_waits_for_is_not_searched():
    engine = Engine()
    shared = SharedSearches(engine.search)
    gone, wanted = (asyncio.create_task(shared.search([query(n)])) for n in (1, 2))
    await asyncio.sleep(0)
    gone.cancel()
    await wanted
    assert engine.calls == [[2]]


async def test_nothing_is_searched_where_nobody_waits():
    engine = Engine()
    gone = asyncio.create_task(SharedSearches(engine.search).search([query(1)]))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert engine.calls == []


async def test_a_search_that_fails_alone_tells_its_caller():
    with pytest.raises(StoreError, match="limit 1"):
        await SharedSearches(Engine(fails=1).search).search([query(1)])


async def test_a_search_that_fails_does_not_take_others_with_it():
    shared = SharedSearches(Engine(fails=2).search)
    good, bad = await asyncio.gather(
        shared.search([query(1)]), shared.search([query(2)]), return_exceptions=True
    )
    assert ids(good) == ["1"]
    assert isinstance(bad, StoreError)


async def test_only_a_few_callers_go_on_in_one_turn_of_the_loop():
    shared = SharedSearches(Engine().search)
    tasks = [asyncio.create_task(shared.search([query(n)])) for n in range(3 * ANSWERED_A_TURN)]
    done = [0]
    while done[-1] < len(tasks):
        await asyncio.sleep(0)
        done.append(sum(task.done() for task in tasks))
    assert max(after - before for before, after in pairwise(done)) == ANSWERED_A_TURN


async def test_who_is_gone_when_answers_are_handed_out_takes_no_answer_from_others():
    shared = SharedSearches(Engine().search)
    count = 4 * ANSWERED_A_TURN
    tasks = [asyncio.create_task(shared.search([query(n)])) for n in range(count)]
    await tasks[0]
    tasks[-1].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [ids(f) for f in found if isinstance(f, list)] == [[str(n)] for n in range(count - 1)]
