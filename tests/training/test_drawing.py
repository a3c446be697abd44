import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.pair_rows import N_BATCHES, SIZES, draws, even_rows, pair_rows
from training.drawing import AlignDraw, PairRows
from training.errors import RunError

pytestmark = pytest.mark.training

ALPHAS = st.sampled_from([0.0, 0.25, 0.5, 1.0])
KINDS = st.sampled_from(["homogeneous", "mixed"])
EXPONENTS = st.sampled_from([0.0, 0.3, 1.0])


@given(pair_rows(), ALPHAS, SIZES, KINDS, EXPONENTS)
def test_no_two_members_of_a_batch_share_a_group_or_a_question(rows, alpha, size, kind, exponent):
    for batch in draws(rows, alpha, size, kind=kind, set_exponent=exponent):
        assert len(set(rows.group[batch].tolist())) == len(batch)
        assert len(set(rows.question[batch].tolist())) == len(batch)


@given(pair_rows(), ALPHAS, SIZES)
def test_a_homogeneous_batch_is_in_one_language_or_wholly_cross_lingual(rows, alpha, size):
    for batch in draws(rows, alpha, size):
        query, passage = rows.query_language[batch], rows.passage_language[batch]
        in_one_language = len({*query.tolist(), *passage.tolist()}) == 1
        assert in_one_language or bool((query != passage).all())


@given(pair_rows(), SIZES, KINDS)
def test_alpha_one_draws_monolingual_pairs_only_and_alpha_zero_none(rows, size, kind):
    assert all(rows.is_monolingual[b].all() for b in draws(rows, 1.0, size, kind=kind))
    assert not any(rows.is_monolingual[b].any() for b in draws(rows, 0.0, size, kind=kind))


@given(pair_rows(), ALPHAS, SIZES, KINDS)
def test_batches_are_never_longer_than_asked_and_never_empty(rows, alpha, size, kind):
    lengths = [len(batch) for batch in draws(rows, alpha, size, kind=kind)]
    assert max(lengths) <= size
    assert min(lengths) >= 1


@given(pair_rows(), ALPHAS, SIZES, KINDS, st.integers(0, 10))
def test_the_seed_decides_everything(rows, alpha, size, kind, seed):
    one, again = (draws(rows, alpha, size, kind=kind, seed=seed) for _ in range(2))
    assert one == again


def test_a_mixed_batch_mixes_what_a_homogeneous_one_keeps_apart():
    rows = even_rows()
    kinds = [set(rows.is_monolingual[b].tolist()) for b in draws(rows, 0.5, 16, kind="mixed")]
    assert {True, False} in kinds


@given(st.integers(1, 25), st.integers(1, 4), SIZES, st.integers(0, 2**31))
def test_every_pair_comes_once_before_one_comes_again(more, n_turns, size, seed):
    """Groups in turn, the rows of a group in turn: after any batch, none is two ahead."""
    n_groups = size + more
    numbers = np.arange(n_groups * n_turns, dtype=np.int32)
    zeros = np.zeros_like(numbers)
    rows = PairRows(numbers, zeros, zeros, numbers // n_turns, zeros, np.ones(len(numbers)))
    seen: Counter[int] = Counter()
    for batch in draws(rows, 1.0, size, seed=seed):
        seen.update(batch)
        groups = [sum(seen[g * n_turns + t] for t in range(n_turns)) for g in range(n_groups)]
        assert max(groups) - min(groups) <= 1
        turns = [[seen[g * n_turns + t] for t in range(n_turns)] for g in range(n_groups)]
        assert all(max(counts) - min(counts) <= 1 for counts in turns)


@settings(max_examples=6)
@given(pair_rows(), KINDS, st.sampled_from([0.0, 0.5, 1.0]))
def test_no_pair_is_left_out_for_ever(rows, kind, alpha):
    drawn = set(itertools.chain(*draws(rows, alpha, 4, n=2000, kind=kind)))
    wanted = np.ones(len(rows), np.bool_)
    if alpha == 0.0:
        wanted = ~rows.is_monolingual
    elif alpha == 1.0:
        wanted = rows.is_monolingual
    assert drawn == set(np.flatnonzero(wanted).tolist())


def test_the_rows_of_a_group_take_turns():
    rows = PairRows(
        question=np.arange(20, dtype=np.int32),
        query_language=np.zeros(20, np.int32),
        passage_language=np.zeros(20, np.int32),
        group=np.repeat(np.arange(5, dtype=np.int32), 4),
        source=np.zeros(20, np.int32),
        weight=np.ones(20),
    )
    batches = draws(rows, 1.0, 5, n=4)
    assert sorted(itertools.chain(*batches)) == list(range(20))


def test_a_batch_is_full_where_there_are_enough_groups():
    assert {len(b) for b in draws(even_rows(n_groups=40), 0.5, 40)} == {40}
    assert {len(b) for b in draws(even_rows(n_groups=39), 0.5, 40)} == {39}


def test_alpha_without_the_pairs_for_it_is_refused():
    numbers = np.arange(4, dtype=np.int32)
    zeros, ones = np.zeros(4, np.int32), np.ones(4, np.int32)
    with pytest.raises(RunError, match="shared_ids"):
        draws(PairRows(numbers, zeros, zeros, numbers, zeros, np.ones(4)), 0.5, 2)
    with pytest.raises(RunError, match="both sides in one language"):
        draws(PairRows(numbers, zeros, ones, numbers, zeros, np.ones(4)), 0.5, 2)


@given(st.integers(0, 10**6), SIZES)
def test_an_align_batch_never_holds_a_group_twice(seed, size):
    rng = np.random.default_rng(seed)
    source = rng.integers(0, 3, 50).astype(np.int32)
    group = rng.integers(0, 30, 50).astype(np.int32)
    draw = AlignDraw(source, group, shares={0: 1.0, 1: 2.0, 2: 0.5}, batch_size=size, seed=seed)
    for batch in itertools.islice(draw, N_BATCHES):
        assert len(set(group[batch].tolist())) == len(batch) <= size


def test_an_align_batch_without_a_source_is_refused():
    with pytest.raises(RunError, match=r"data\.parallel"):
        AlignDraw(np.zeros(3, np.int32), np.arange(3, dtype=np.int32), shares={}, batch_size=2)
