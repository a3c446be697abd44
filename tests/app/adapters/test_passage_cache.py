import json
import tracemalloc

import pytest

from app.adapters.passage_cache import PassageCache
from app.core.types import Passage


def passage(name: str, characters: int = 10) -> Passage:
    return Passage(id=name, text="x" * characters, metadata={"n": 1})


class Reads:
    """Stands for a store; remembers what was read from it."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, keys):
        self.asked.append(list(keys))
        return {key: passage(key) for key in keys if key != "gone"}


def new_cache(capacity: int = 1 << 20) -> tuple[PassageCache[str], Reads]:
    return PassageCache(capacity), Reads()


def test_what_was_read_once_is_not_read_again():
    cache, read = new_cache()
    cache.get(["a", "b"], read)
    assert cache.get(["b", "c"], read) == {"b": passage("b"), "c": passage("c")}
    assert read.asked == [["a", "b"], ["c"]]


def test_nothing_is_read_where_everything_is_known():
    cache, read = new_cache()
    cache.get(["a"], read)
    assert cache.get(["a"], read) == {"a": passage("a")}
    assert read.asked == [["a"]]


def test_what_is_forgotten_is_read_again():
    cache, read = new_cache()
    cache.get(["a"], read)
    cache.forget(["a", "never seen"])
    assert cache.used == 0
    cache.get(["a"], read)
    assert read.asked == [["a"], ["a"]]


def test_a_passage_that_is_gone_is_left_out_and_asked_for_again():
    cache, read = new_cache()
    assert cache.get(["gone"], read) == {}
    cache.get(["gone"], read)
    assert read.asked == [["gone"], ["gone"]]


def test_the_passage_used_least_recently_makes_room():
    cache, read = new_cache(capacity=200_000)
    names = [f"p{n}" for n in range(400)]
    for name in names:
        cache.get([name], read)
        cache.get(["p0"], read)
    assert cache.used <= 200_000
    read.asked.clear()
    cache.get(["p0", "p1"], read)
    assert read.asked == [["p1"]]


def test_one_huge_passage_does_not_drive_out_a_hundred_others():
    cache, read = new_cache(capacity=200_000)
    cache.get(["a"], read)
    huge = passage("huge", 100_000)
    assert cache.get(["huge"], lambda keys: {"huge": huge}) == {"huge": huge}
    assert cache.get(["a"], read) == {"a": passage("a")}
    assert read.asked == [["a"]]


@pytest.mark.parametrize("metadata", [{}, {"n": 1}, {"deep": [{"a": [1000, 2000], "b": "c"}] * 8}])
def test_no_more_memory_is_taken_than_is_accounted_for(metadata):
    def read(keys: list[int]) -> dict[int, Passage]:
        copied = json.loads(json.dumps(metadata))
        return {n: Passage(f"passage-{n}", "ä" * (100 + n), metadata=copied) for n in keys}

    cache: PassageCache[int] = PassageCache()
    tracemalloc.start()
    try:
        for n in range(300):
            cache.get([n], read)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken <= cache.used
