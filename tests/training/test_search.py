import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.core.types import VectorArray
from training.embedding import VectorStorage
from training.errors import RunError
from training.search import CosineScorer, cosine_scorer, nearest, pack, rows_of, scores_of
from training.search_torch import TorchCosineScorer

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


def unit(rng: np.random.Generator, rows: int, dim: int) -> VectorArray:
    vectors: VectorArray = rng.standard_normal((rows, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@pytest.mark.parametrize("block_cells", [1, 40, 10_000])
def test_the_best_passages_do_not_depend_on_the_block_size_even_among_ties(block_cells):
    rng = np.random.default_rng(1)
    queries, passages = few_values(rng, (7, 3)), few_values(rng, (40, 3))
    found = nearest(queries, passages, 15, block_cells=block_cells)
    for line, rows, scores in zip(queries @ passages.T, found.rows, found.scores, strict=True):
        assert rows.tolist() == by_sorting(line.tolist(), 15)
        np.testing.assert_array_equal(scores, line[rows])


def test_equal_passages_tie_wherever_they_stand_in_a_block():
    rng = np.random.default_rng(3)
    queries, distinct = unit(rng, 64, 368), unit(rng, 37, 368)
    passages = np.tile(distinct, (9, 1))
    # Whether a product in float32 would tie them depends on the kernel that the processor gets.
    scores = CosineScorer(queries, passages).against(np.arange(len(passages)))(slice(0, 64))
    for start in range(0, len(passages), 37):
        np.testing.assert_array_equal(scores[:, start : start + 37], scores[:, :37])


def test_scores_of_pairs_are_those_of_blocks():
    rng = np.random.default_rng(4)
    queries, passages = unit(rng, 300, 96), unit(rng, 50, 96)
    scorer = CosineScorer(queries, passages)
    block = scorer.against(np.arange(50))(slice(0, 300))
    asked, rows = np.divmod(np.arange(300 * 50), 50)
    np.testing.assert_array_equal(scorer.pairs(asked, rows), block.ravel())


def test_torch_scores_are_the_same_bits():
    rng = np.random.default_rng(5)
    queries, passages = unit(rng, 20, 64), unit(rng, 70, 64)
    passages.flags.writeable = False
    rows = np.array([3, 4, 8, 60])
    ours = CosineScorer(queries, passages).against(rows)(slice(2, 19))
    theirs = TorchCosineScorer(queries, passages, "cpu").against(rows)(slice(2, 19))
    np.testing.assert_array_equal(ours, theirs)
    assert theirs.dtype == np.float32


def test_half_precision_passages_are_searched_as_they_are_stored():
    rng = np.random.default_rng(6)
    queries, passages = unit(rng, 5, 32), VectorStorage(dtype="float16").allocate("x", (90, 32))
    passages[:] = unit(rng, 90, 32)
    found = nearest(queries, passages, 7, block_cells=100)
    exact = queries.astype(np.float64) @ passages.astype(np.float64).T
    np.testing.assert_array_equal(found.rows[:, 0], exact.argmax(axis=1))


def test_a_gpu_that_is_not_there_is_said_so(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(RunError, match="Leave out --device cuda"):
        cosine_scorer(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), "cuda")


def test_a_small_pool_is_returned_whole():
    queries = np.eye(3, dtype=np.float32)[:1]
    found = nearest(queries, np.eye(3, dtype=np.float32), 60)
    assert found.rows.tolist() == [[0, 1, 2]]
    assert found.scores.dtype == np.float64


def test_no_query_finds_nothing():
    nothing = np.zeros((0, 3), dtype=np.float32)
    assert nearest(nothing, np.eye(3, dtype=np.float32), 2).rows.shape == (0, 2)
