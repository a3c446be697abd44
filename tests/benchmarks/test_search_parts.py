import time

from benchmarks.search_parts import AIM, PARTS, PartClock, watched


def functions() -> list[object]:
    return [getattr(at, name) for places in PARTS.values() for at, name in places]


def test_every_part_is_made_of_functions_that_exist_and_are_put_back():
    before = functions()
    with watched():
        within = functions()
    assert all(a is not b for a, b in zip(before, within, strict=True))
    assert functions() == before
    assert set(AIM) <= set(PARTS)


def test_a_part_within_a_part_is_counted_once():
    clock = PartClock()
    inner = clock.around("inner", lambda: time.sleep(0.02))
    clock.around("outer", inner)()
    assert clock.seconds["inner"] >= 0.02
    assert clock.seconds["outer"] < 0.02
