from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.collating import (
    AlignCollator,
    MixedCollator,
    PairCollator,
    TeacherTable,
    draw_two_languages,
)
from training.data_prepared import NO_TEXT

pytestmark = pytest.mark.training


def echo(texts: Any, side: Any, rng: Any) -> Any:
    """A reader whose features say what was read, with one draw of its randomness."""
    return {
        "input_ids": torch.from_numpy(texts.copy()),
        "side": side,
        "noise": float(rng.random()),
    }


@st.composite
def matrices(draw: Any) -> Any:
    """Parallel rows of up to five languages, each with two or more texts."""
    n_rows, n_languages = draw(st.integers(1, 20)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    texts = np.arange(n_rows * n_languages, dtype=np.int32).reshape(n_rows, n_languages)
    for row in texts:
        missing = rng.permutation(n_languages)[: rng.integers(0, n_languages - 1)]
        row[missing] = NO_TEXT
    return texts


@given(matrices(), st.integers(0, 99), st.sampled_from([None, 0.0, 0.5, 1.0]))
def test_two_different_texts_of_the_row_are_drawn(texts, seed, share):
    weights = np.ones(texts.shape[1])
    first, second = draw_two_languages(
        texts, weights, np.random.default_rng(seed), pivot=0, pivot_share=share
    )
    for row, a, b in zip(texts, first, second, strict=True):
        assert NO_TEXT not in (a, b)
        assert {a, b} <= set(row.tolist())
        assert a != b


def drawn_columns(weights: Any, **pivot: Any) -> Any:
    texts = np.tile(np.arange(4, dtype=np.int32), (6000, 1))
    drawn = draw_two_languages(texts, np.array(weights), np.random.default_rng(1), **pivot)
    return np.stack(drawn, axis=1)


def test_languages_are_drawn_by_their_weights():
    both = drawn_columns([1.0, 1.0, 1.0, 1e-9])
    assert not (both == 3).any()
    for language in range(3):
        assert (both == language).any(axis=1).mean() == pytest.approx(2 / 3, abs=0.03)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_pivot_is_drawn_by_its_share_on_either_side(share):
    both = drawn_columns([1.0] * 4, pivot=2, pivot_share=share)
    assert (both == 2).any(axis=1).mean() == pytest.approx(share, abs=0.03)
    assert (both[:, 0] == 2).mean() == pytest.approx(share / 2, abs=0.03)


def align_collator(texts: Any, teacher: Any = None, seed: int = 0) -> Any:
    weights = np.ones(texts.shape[1])
    return AlignCollator(echo, texts, weights, seed, pivot=0, pivot_share=None, teacher=teacher)


TEXTS = np.array([[0, 1, 2], [3, 4, NO_TEXT], [NO_TEXT, 5, 6], [7, 8, 9]], np.int32)
ROWS = [{"row": k} for k in range(4)]


def test_an_align_batch_reads_one_side_as_query_and_the_other_as_passage():
    batch = align_collator(TEXTS)(ROWS)
    assert (batch["first_side"], batch["second_side"]) == ("query", "passage")
    keys = torch.stack([batch["first_input_ids"], batch["second_input_ids"]], dim=1)
    assert torch.equal(batch["label"]["keys"], keys)


def test_an_align_batch_carries_the_vectors_of_the_rows_that_have_one():
    row_of = np.full(10, -1, np.int32)
    row_of[[0, 7]] = [1, 0]
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    label = align_collator(TEXTS, TeacherTable(row_of, vectors))(ROWS)["label"]
    assert label["has_teacher"].tolist() == [0, 3]
    assert label["teacher"].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert label["teacher_keys"].tolist() == [0, 7]


def test_a_batch_is_drawn_the_same_again_and_another_batch_otherwise():
    texts = np.arange(600, dtype=np.int32).reshape(200, 3)
    rows = [{"row": k} for k in range(200)]
    one, again = (align_collator(texts)(rows)["first_input_ids"] for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.equal(one, align_collator(texts, seed=1)(rows)["first_input_ids"])
    moved = align_collator(texts)(rows[1:])["first_input_ids"]
    assert not torch.equal(one[1:], moved)


PAIRS = [
    {"question": 4, "passage": 5, "group": 0},
    {"question": 6, "passage": 7, "group": 1},
]


def test_a_pair_batch_reads_questions_and_passages():
    batch: Any = PairCollator(echo, seed=0)(PAIRS)
    assert batch["question_input_ids"].tolist() == [4, 6]
    assert batch["passage_input_ids"].tolist() == [5, 7]
    assert (batch["question_side"], batch["passage_side"]) == ("query", "passage")
    assert batch["label"]["keys"].tolist() == [[4, 5], [6, 7]]


def test_the_collator_of_the_dataset_is_taken():
    mixed = MixedCollator({"pairs": PairCollator(echo, 0), "parallel": align_collator(TEXTS)})
    pairs = mixed([{"dataset_name": "pairs", **row} for row in PAIRS])
    parallel = mixed([{"dataset_name": "parallel", **row} for row in ROWS])
    assert (pairs["dataset_name"], "question_input_ids" in pairs) == ("pairs", True)
    assert (parallel["dataset_name"], "first_input_ids" in parallel) == ("parallel", True)
