import threading

import pytest

from app.core.encoding_lanes import PATIENCE, Lanes, Work, estimated_tokens
from app.core.errors import OverloadedError


class Observer:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def queued(self, lane, tokens):
        self.told.append(("queued", lane, tokens))

    def waited(self, lane, seconds):
        assert seconds >= 0
        self.told.append(("waited", lane))

    def refused(self, lane):
        self.told.append(("refused", lane))


def query(tokens: int = 10) -> Work:
    return Work("query", ["text"], tokens)


def passage(tokens: int = 10) -> Work:
    return Work("passage", ["text"], tokens)


def filled(*work: Work, merge: bool = False, **options) -> Lanes:
    lanes = Lanes(merge_queries=merge, **options)
    for each in work:
        lanes.put(each)
    return lanes


@pytest.mark.parametrize(("text", "tokens"), [("", 1), ("abcdefgh", 3), ("水" * 4, 4)])
def test_tokens_are_estimated_by_bytes(text, tokens):
    assert estimated_tokens(text, 100) == tokens


def test_no_more_tokens_are_estimated_than_are_read():
    assert estimated_tokens("word " * 1000, 100) == 100


def test_queries_go_before_passages():
    first, second, third = passage(), query(), query()
    lanes = filled(first, second, third)
    assert [lanes.take(), lanes.take(), lanes.take()] == [[second], [third], [first]]


def test_passages_get_a_pass_after_many_queries():
    waiting = passage()
    lanes = filled(waiting, *(query() for _ in range(PATIENCE + 2)))
    taken = [lanes.take() for _ in range(PATIENCE + 3)]
    assert taken.index([waiting]) == PATIENCE


def test_queries_share_a_pass_only_where_that_is_wanted():
    works = [query(), query()]
    assert filled(*works, merge=True).take() == works
    assert filled(query(), query()).take() != works


def test_a_shared_pass_has_a_budget():
    works = [query(1500), query(500), query(100)]
    assert filled(*works, merge=True).take() == works[:2]


def test_work_that_nobody_waits_for_is_dropped():
    gone, wanted = query(), query()
    lanes = filled(gone, wanted)
    gone.done.cancel()
    assert lanes.take() == [wanted]
    assert lanes.waiting_tokens("query") == 0


def test_passages_come_next_where_nobody_waits_for_the_queries():
    gone, wanted = query(), passage()
    lanes = filled(gone, wanted, merge=True)
    gone.done.cancel()
    assert lanes.take() == [wanted]


def test_too_many_queries_are_refused_and_passages_never():
    observer = Observer()
    lanes = filled(query(60), max_waiting_tokens=100, observer=observer)
    with pytest.raises(OverloadedError) as refused:
        lanes.put(query(60))
    assert refused.value.retry_after >= 1
    assert ("refused", "query") in observer.told
    lanes.put(passage(60))
    lanes.put(passage(60))
    assert (lanes.waiting_tokens("query"), lanes.waiting_tokens("passage")) == (60, 120)


def test_one_query_of_any_length_finds_room():
    assert filled(query(200), max_waiting_tokens=100).waiting_tokens("query") == 200


def test_refusing_needs_no_observer():
    with pytest.raises(OverloadedError):
        filled(query(60), query(60), max_waiting_tokens=100)


def test_the_observer_learns_what_waits_and_how_long():
    observer = Observer()
    filled(query(10), observer=observer).take()
    assert observer.told == [("queued", "query", 10), ("queued", "query", 0), ("waited", "query")]


def test_who_waits_for_work_gets_it_as_soon_as_there_is_some():
    lanes = Lanes(merge_queries=False)
    taken: list[list[Work]] = []
    thread = threading.Thread(target=lambda: taken.append(lanes.take()))
    thread.start()
    work = query()
    lanes.put(work)
    thread.join(60)
    assert taken == [[work]]


def test_closing_cancels_what_waits_and_ends_the_waiting():
    work = query()
    lanes = filled(work)
    lanes.close()
    assert work.done.cancelled()
    assert lanes.take() == []


def test_a_queue_counts_as_full_until_half_of_it_is_gone():
    lanes = filled(*(query(10) for _ in range(8)), max_waiting_tokens=100)
    assert lanes.full_seconds == 0.0
    lanes.put(query(10))
    assert lanes.full_seconds > 0.0
    for _ in range(4):
        lanes.take()
    assert (lanes.waiting_tokens("query"), lanes.full_seconds > 0.0) == (50, True)
    lanes.take()
    assert lanes.full_seconds == 0.0
