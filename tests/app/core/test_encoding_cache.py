import numpy as np

from app.core.encoding_cache import VectorCache


def vector(value: float) -> np.ndarray:
    return np.full(8, value, np.float32)


def test_a_vector_is_found_by_the_exact_text():
    cache = VectorCache()
    cache.put("where is the sea", vector(1))
    np.testing.assert_array_equal(cache.get("where is the sea"), vector(1))
    assert cache.get("Where is the sea") is None


def test_what_is_kept_cannot_be_changed_from_outside():
    cache = VectorCache()
    given = vector(1)
    cache.put("a", given)
    given[:] = 2
    kept = cache.get("a")
    np.testing.assert_array_equal(kept, vector(1))
    assert kept is not None
    assert not kept.flags.writeable


def test_the_vector_used_longest_ago_makes_room():
    cache = VectorCache(capacity=3 * 340)
    for text in "abc":
        cache.put(text, vector(1))
    cache.get("a")
    cache.put("d", vector(1))
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.used <= 3 * 340


def test_the_same_text_is_kept_once():
    cache = VectorCache()
    cache.put("a", vector(1))
    used = cache.used
    cache.put("a", vector(1))
    assert cache.used == used


def test_without_capacity_nothing_is_kept():
    cache = VectorCache(capacity=0)
    cache.put("a", vector(1))
    assert cache.get("a") is None
    assert cache.used == 0
