from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data_prepared import NO_TEXT, PairTable, ParallelTable
from training.data_rows import cross_pairs, pair_dataset, parallel_dataset
from training.errors import RunError

pytestmark = pytest.mark.training


@st.composite
def tables(draw: Any) -> Any:
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    shared = rng.integers(0, 12, n).astype(np.int32)
    return PairTable(
        question=np.arange(n, dtype=np.int32),
        passage=np.arange(n, dtype=np.int32) + 1000,
        language=rng.integers(0, 4, n).astype(np.int32),
        shared=shared,
        group=shared,
        source=rng.integers(0, 2, n).astype(np.int32),
    )


@given(tables())
def test_cross_pairs_are_all_translations_in_two_languages(table):
    questions, passages = cross_pairs(table, None, seed=0)
    expected = {
        (a, b)
        for a in range(len(table))
        for b in range(len(table))
        if table.shared[a] == table.shared[b] and table.language[a] != table.language[b]
    }
    assert set(zip(questions.tolist(), passages.tolist(), strict=True)) == expected
    assert len(questions) == len(expected)


@given(tables(), st.integers(1, 4), st.integers(0, 9))
def test_a_limit_keeps_that_many_pairs_of_an_id_and_the_seed_chooses(table, limit, seed):
    questions, passages = cross_pairs(table, limit, seed)
    again = cross_pairs(table, limit, seed)
    assert questions.tolist() == again[0].tolist()
    assert passages.tolist() == again[1].tolist()
    everything, _ = cross_pairs(table, None, seed)
    kept = np.bincount(table.shared[questions], minlength=12)
    there = np.bincount(table.shared[everything], minlength=12)
    assert kept.tolist() == np.minimum(there, limit).tolist()


@given(tables())
def test_rows_say_the_language_and_group_of_their_texts(table):
    dataset = pair_dataset(table, [1.0, 2.0], max_cross_pairs=None, seed=0)
    assert len(dataset) == len(table) + len(cross_pairs(table, None, 0)[0])
    for row in dataset:
        question, passage = row["question"], row["passage"] - 1000
        assert row["query_language"] == table.language[question]
        assert row["passage_language"] == table.language[passage]
        assert row["group"] == table.group[question] == table.group[passage]
        assert row["weight"] == [1.0, 2.0][table.source[question]]


def test_parallel_rows_with_the_same_pivot_text_share_a_group():
    texts = np.array([[5, 1], [5, 2], [NO_TEXT, 5], [6, NO_TEXT]], np.int32)
    table = ParallelTable(texts, np.zeros(4, np.int32))
    assert list(parallel_dataset(table, 0)["group"]) == [5, 5, 5, 6]
    assert list(parallel_dataset(table, None)["group"]) == [5, 5, 5, 6]
    assert list(parallel_dataset(table, 1)["group"]) == [1, 2, 5, 6]


def test_tables_without_rows_are_refused():
    empty = np.empty(0, np.int32)
    with pytest.raises(RunError, match=r"data\.pairs"):
        pair_dataset(PairTable(*[empty] * 6), [], max_cross_pairs=None, seed=0)
    with pytest.raises(RunError, match=r"data\.parallel"):
        parallel_dataset(ParallelTable(np.empty((0, 2), np.int32), empty), 0)
