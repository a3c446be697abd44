import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import CursorExpiredError, InvalidCursorError, InvalidInputError
from app.core.search.paging import SNAPSHOT_SECONDS, Cursor, Snapshots
from app.core.search.service import SearchMemory
from app.core.search.types import MAX_CANDIDATES, SearchRequest, SearchResult
from app.core.types import Passage
from tests.searching import Searching, random_passages, ranked_calibrator, searching

QUERY = "the tide of the sea"
PASSAGES = random_passages(3, 60)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def opened(clock):
    memory = SearchMemory(snapshots=Snapshots(clock=clock))
    async with searching(PASSAGES, calibrator=ranked_calibrator(), memory=memory) as service:
        yield service


async def first_page(opened: Searching, **options: Any) -> SearchResult:
    return await opened.service.search(SearchRequest(QUERY, limit=5, **options))


async def test_the_last_page_has_no_cursor(opened):
    page = await opened.service.search(SearchRequest(QUERY, limit=60))
    assert page.next_cursor is None
    assert opened.service.memory.snapshots.used == 0


async def test_pages_of_one_cursor_are_one_answer(opened):
    first = await first_page(opened)
    second = await first_page(opened, cursor=first.next_cursor)
    assert second.query_id == first.query_id
    assert second.offset == 5
    assert second.answerable_probability == first.answerable_probability
    assert second.candidates == first.candidates
    assert [hit.rank for hit in second.hits] == [6, 7, 8, 9, 10]
    assert second.expected_relevant == pytest.approx(sum(h.probability or 0.0 for h in second.hits))


async def test_a_cursor_may_be_used_again_and_with_another_limit(opened):
    cursor = (await first_page(opened)).next_cursor
    once = await first_page(opened, cursor=cursor)
    again = await first_page(opened, cursor=cursor)
    longer = await opened.service.search(SearchRequest(QUERY, limit=10, cursor=cursor))
    assert once.hits == again.hits == longer.hits[:5]


async def test_a_cursor_goes_on_after_an_offset(opened):
    first = await first_page(opened, offset=20)
    second = await first_page(opened, cursor=first.next_cursor)
    assert second.hits[0].rank == 26


async def test_passages_that_are_gone_are_left_out_and_said_to_be(opened):
    whole = await opened.service.search(SearchRequest(QUERY, limit=15))
    first = await first_page(opened)
    deleted, replaced = whole.hits[6].passage, whole.hits[7].passage
    await opened.store.delete([deleted.id])
    await opened.add([Passage(replaced.id, "bread", replaced.language)])

    second = await first_page(opened, cursor=first.next_cursor)
    third = await first_page(opened, cursor=second.next_cursor)

    shown = [hit.rank for hit in [*first.hits, *second.hits, *third.hits]]
    assert shown == [1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15]
    assert [w.detail for w in second.warnings if w.code == "passages_gone"] == [
        "2 passages of this page were deleted or replaced since the search."
    ]
    assert "passages_gone" not in {w.code for w in third.warnings}


async def test_explanations_are_given_on_later_pages_too(opened):
    first = await first_page(opened)
    second = await first_page(opened, cursor=first.next_cursor, explain="full")
    for hit in second.hits:
        assert hit.explanation is not None
        assert sum(h.share * h.probability for h in hit.explanation.heads) == pytest.approx(
            hit.probability
        )


async def test_a_cursor_expires_when_it_is_not_used(opened, clock):
    cursor = (await first_page(opened)).next_cursor
    clock.now += SNAPSHOT_SECONDS - 1
    await first_page(opened, cursor=cursor)
    clock.now += SNAPSHOT_SECONDS - 1
    await first_page(opened, cursor=cursor)
    clock.now += SNAPSHOT_SECONDS + 1
    with pytest.raises(CursorExpiredError, match="expired"):
        await first_page(opened, cursor=cursor)
    assert opened.service.memory.snapshots.used == 0


async def kept_bytes(answers: int) -> int:
    async with searching(PASSAGES, calibrator=ranked_calibrator()) as opened:
        for _ in range(answers):
            await first_page(opened)
        return opened.service.memory.snapshots.used


async def test_the_least_recently_used_answers_make_room():
    one = await kept_bytes(1)
    assert await kept_bytes(2) == 2 * one
    memory = SearchMemory(snapshots=Snapshots(capacity=2 * one))
    async with searching(PASSAGES, calibrator=ranked_calibrator(), memory=memory) as opened:
        cursors = [(await first_page(opened)).next_cursor for _ in range(2)]
        await first_page(opened, cursor=cursors[0])
        newest = (await first_page(opened)).next_cursor
        assert memory.snapshots.used == 2 * one
        await first_page(opened, cursor=cursors[0])
        await first_page(opened, cursor=newest)
        with pytest.raises(CursorExpiredError):
            await first_page(opened, cursor=cursors[1])


@pytest.mark.parametrize(
    "change",
    [
        {"rank_by": "score"},
        {"min_probability": 0.1},
        {"candidates": 200},
        {"query_language": "de"},
        {"language_mode": "prefer", "prefer": {"de": 1.0}},
        {"passage_languages": frozenset({"de"})},
    ],
)
async def test_a_cursor_of_another_search_is_refused(opened, change):
    cursor = (await first_page(opened)).next_cursor
    with pytest.raises(InvalidCursorError, match="another search"):
        await first_page(opened, cursor=cursor, **change)


async def test_a_cursor_of_another_service_has_expired_here(opened):
    async with searching(PASSAGES, calibrator=ranked_calibrator()) as elsewhere:
        cursor = (await first_page(elsewhere)).next_cursor
    with pytest.raises(CursorExpiredError, match="restart"):
        await first_page(opened, cursor=cursor)


async def test_a_place_outside_the_answer_is_refused(opened):
    cursor = Cursor.decode((await first_page(opened)).next_cursor or "")
    for position in (0, 60):
        with pytest.raises(InvalidCursorError, match="not one that"):
            await first_page(opened, cursor=Cursor(cursor.snapshot, position).encode())


async def test_cursor_and_offset_exclude_each_other(opened):
    cursor = (await first_page(opened)).next_cursor
    with pytest.raises(InvalidInputError) as caught:
        await first_page(opened, cursor=cursor, offset=5)
    assert caught.value.pointer == "/offset"


@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda b: base64.b64encode(b).decode()))
def test_what_is_no_cursor_is_refused_as_such(text):
    with pytest.raises(InvalidCursorError) as caught:
        Cursor.decode(text)
    assert caught.value.pointer == "/cursor"


@given(st.uuids(), st.integers(0, MAX_CANDIDATES), st.integers(0, 27), st.integers(1, 255))
def test_a_cursor_comes_back_as_it_was_and_never_with_a_changed_byte(name, position, at, change):
    cursor = Cursor(name, position)
    text = cursor.encode()
    assert Cursor.decode(text) == cursor
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    raw[at % len(raw)] ^= change
    with pytest.raises(InvalidCursorError):
        Cursor.decode(base64.urlsafe_b64encode(raw).decode())
