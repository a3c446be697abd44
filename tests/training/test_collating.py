from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.collating import (
    ALONE,
    AlignCollator,
    MixedCollator,
    PairCollator,
    TeacherTable,
)
from training.data_prepared import NO_TEXT
from training.distributed import World
from training.encoder import EVERYTHING
from training.text_choice import (
    HardNegatives,
    PartialQueries,
    SideChoice,
    draw_two_languages,
)

pytestmark = pytest.mark.training


def echo(texts: Any, side: Any, rng: Any, *, part: Any = EVERYTHING, dropout: Any = None) -> Any:
    """A reader whose features say what was read, with one draw of its randomness."""
    return {
        "input_ids": torch.from_numpy(texts[part].copy()),
        "dropout": None if dropout is None else torch.from_numpy(dropout[part]),
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
    choice = SideChoice(np.ones(texts.shape[1]), pivot=0)
    return AlignCollator(echo, seed, texts=texts, choice=choice, teacher=teacher)


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


# Partial queries


def aligned(partial: Any, n_rows: Any = 4000, dropout: Any = 0.0) -> Any:
    texts = np.arange(n_rows * 3, dtype=np.int32).reshape(n_rows, 3)
    choice = SideChoice(np.ones(3), pivot=0, partial=partial)
    collator = AlignCollator(echo, 0, texts=texts, choice=choice, dropout=dropout)
    return collator([{"row": k} for k in range(n_rows)])


def test_partial_queries_are_one_text_in_any_language_as_often_as_asked():
    batch = aligned(PartialQueries(share=0.3, dropout=0.6))
    first, second = batch["label"]["keys"].T.numpy()
    same = first == second
    assert same.mean() == pytest.approx(0.3, abs=0.04)
    for language in range(3):
        assert (first[same] % 3 == language).mean() == pytest.approx(1 / 3, abs=0.06)


def test_only_the_first_side_of_a_partial_query_loses_more_words_and_the_second_none():
    batch = aligned(PartialQueries(share=0.3, dropout=0.6), dropout=0.1)
    first, second = batch["label"]["keys"].T.numpy()
    same = first == second
    assert batch["first_dropout"].tolist() == np.where(same, 0.6, 0.1).tolist()
    assert batch["second_dropout"].tolist() == np.where(same, 0.0, 0.1).tolist()


def test_without_partial_queries_every_draw_is_what_it_was():
    plain, none = aligned(PartialQueries()), aligned(PartialQueries(share=0.0, dropout=0.5))
    for name in ("first_input_ids", "second_input_ids"):
        assert torch.equal(plain[name], none[name])
    assert plain["first_noise"] == none["first_noise"]
    assert plain["first_dropout"] is None
    # What was drawn before there were partial queries.
    assert plain["label"]["keys"][:4].tolist() == [[0, 1], [5, 4], [6, 7], [9, 10]]


# Hard negatives


NEGATIVES = np.array([[20, 21, NO_TEXT], [NO_TEXT] * 3, [5, 22, 23]], np.int32)
ENTRIES = [
    {"question": 4, "passage": 5, "entry": 0},
    {"question": 6, "passage": 7, "entry": 1},
    {"question": 8, "passage": 9, "entry": 2},
]
GROUP_OF = np.full(30, -1, np.int32)
GROUP_OF[[5, 7, 9, 22]] = [0, 1, 2, 1]


def hard(per_pair: Any, world: Any = ALONE, rows: Any = ENTRIES) -> Any:
    negatives = HardNegatives(NEGATIVES, GROUP_OF, per_pair)
    return PairCollator(echo, 0, world, negatives)(rows)


def test_all_hard_negatives_of_the_passages_are_read_once():
    batch = hard(3)
    assert batch["negative_input_ids"].tolist() == [5, 20, 21, 22, 23]
    assert batch["negative_side"] == "passage"
    label = batch["label"]
    assert label["negative_keys"].tolist() == [5, 20, 21, 22, 23]
    assert label["negative_groups"].tolist() == [0, -1, -1, 1, -1]
    assert label["groups"].tolist() == [0, 1, 2]


def test_so_many_hard_negatives_are_drawn_of_a_pair_evenly():
    drawn = HardNegatives(NEGATIVES, GROUP_OF, 1).draw(
        np.zeros(4000, np.int32), np.random.default_rng(0)
    )
    assert drawn.shape == (4000, 1)
    assert (drawn == 20).mean() == pytest.approx(0.5, abs=0.05)
    assert set(drawn.ravel().tolist()) == {20, 21}


def test_a_batch_without_hard_negatives_reads_a_passage_in_their_place():
    batch = hard(2, rows=[ENTRIES[1]])
    assert batch["negative_input_ids"].tolist() == [7]


# Several processes


def shared_worlds(n: Any = 2) -> Any:
    return [World(rank, n, shared=True) for rank in range(n)]


@pytest.mark.parametrize("n", [2, 3])
def test_the_parts_of_all_processes_are_the_batch_of_one(n):
    rows = [{"row": k} for k in range(17)]
    texts = np.arange(60, dtype=np.int32).reshape(20, 3)
    choice = SideChoice(np.ones(3), pivot=0, partial=PartialQueries(0.5, 0.5))
    teacher = TeacherTable(np.arange(60, dtype=np.int32), np.eye(60, dtype=np.float32))

    def collate(world: Any) -> Any:
        return AlignCollator(echo, 3, world, texts=texts, choice=choice, teacher=teacher)(rows)

    alone = collate(ALONE)
    together = [collate(world) for world in shared_worlds(n)]
    apart = [collate(World(rank, n)) for rank in range(n)]
    for name in ("first_input_ids", "second_input_ids", "first_dropout", "second_dropout"):
        for batches in (together, apart):
            assert torch.equal(torch.cat([batch[name] for batch in batches]), alone[name])
    for batch in together:
        for name in ("keys", "teacher", "has_teacher", "teacher_keys"):
            assert torch.equal(batch["label"][name], alone["label"][name])
        assert batch["label"]["counts"].tolist() == [World(0, n).counts(17)] * 2
    assert torch.equal(torch.cat([b["label"]["keys"] for b in apart]), alone["label"]["keys"])
    assert [len(b["label"]["has_teacher"]) for b in apart] == World(0, n).counts(17)


def test_hard_negatives_are_shared_by_the_processes_or_each_ones_own():
    alone = hard(3)
    together = [hard(3, world) for world in shared_worlds()]
    read = torch.cat([batch["negative_input_ids"] for batch in together])
    assert torch.equal(read, alone["negative_input_ids"])
    for batch in together:
        assert batch["label"]["counts"].tolist() == [[2, 1], [2, 1], [3, 2]]
        assert torch.equal(batch["label"]["negative_keys"], read)
    apart = [hard(3, World(rank, 2)) for rank in range(2)]
    assert [batch["negative_input_ids"].tolist() for batch in apart] == [[20, 21], [5, 22, 23]]
    assert "counts" not in apart[0]["label"]


def test_every_process_reads_a_text_where_there_are_fewer_hard_negatives_than_processes():
    together = [hard(3, world, rows=ENTRIES[1:2] * 3) for world in shared_worlds(3)]
    assert [batch["negative_input_ids"].tolist() for batch in together] == [[7], [7], [7]]
