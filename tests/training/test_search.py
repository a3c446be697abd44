import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.core.types import VectorArray
from training.search import key_blocks, nearest, pack, ranks_in_pool, rows_of, scores_of

pytestmark = pytest.mark.training

floats = st.floats(-1.0, 1.0, width=32)


def by_sorting(scores: list[float], k: int) -> list[int]:
    """Plain Python: higher score first, then the lower row."""
    return sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:k]


@given(arrays(np.float32, (3, 12), elements=floats))
def test_keys_order_by_score_and_then_by_row(scores):
    keys = pack(scores)
    for line, row_keys in zip(scores, keys, strict=True):
        order = np.argsort(-row_keys)
        assert order.tolist() == by_sorting(line.tolist(), len(line))


@given(arrays(np.float32, (2, 9), elements=floats))
def test_keys_carry_rows_and_scores(scores):
    keys = pack(scores)
    np.testing.assert_array_equal(rows_of(keys), np.broadcast_to(np.arange(9), (2, 9)))
    np.testing.assert_array_equal(scores_of(keys), scores.astype(np.float64))


def few_values(rng: np.random.Generator, shape: tuple[int, int]) -> VectorArray:
    """Vectors with many exact ties."""
    values: VectorArray = rng.integers(-1, 2, size=shape).astype(np.float32)
    return values


@pytest.mark.parametrize("block_cells", [1, 40, 10_000])
def test_the_best_passages_do_not_depend_on_the_block_size_even_among_ties(block_cells):
    rng = np.random.default_rng(1)
    queries, passages = few_values(rng, (7, 3)), few_values(rng, (40, 3))
    found = nearest(queries, passages, 15, block_cells=block_cells)
    for line, rows, scores in zip(queries @ passages.T, found.rows, found.scores, strict=True):
        assert rows.tolist() == by_sorting(line.tolist(), 15)
        np.testing.assert_array_equal(scores, line[rows])


def test_a_small_pool_is_returned_whole():
    queries = np.eye(3, dtype=np.float32)[:1]
    found = nearest(queries, np.eye(3, dtype=np.float32), 60)
    assert found.rows.tolist() == [[0, 1, 2]]
    assert found.scores.dtype == np.float64


def test_no_query_finds_nothing():
    nothing = np.zeros((0, 3), dtype=np.float32)
    assert nearest(nothing, np.eye(3, dtype=np.float32), 2).rows.shape == (0, 2)


def test_ranks_count_only_the_passages_of_the_pool():
    queries, passages = np.ones((1, 1), np.float32), np.array([[0.9], [0.8], [0.8], [0.1]], "f4")
    ((_, keys),) = key_blocks(queries, passages)
    everything, some = np.arange(4), np.array([1, 3])
    assert ranks_in_pool(keys, [np.array([2, 3])], everything)[0].tolist() == [3, 4]
    assert ranks_in_pool(keys, [np.array([1, 3])], some)[0].tolist() == [1, 2]
