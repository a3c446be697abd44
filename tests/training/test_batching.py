import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.utils.data import ConcatDataset

from training.batching import (
    AlignBatchSampler,
    HybridBatchSampler,
    MixedBatchSampler,
    hybrid_batch_sampler,
)
from training.drawing import AlignDraw, HybridDraw, HybridSettings, PairRows
from training.errors import RunError
from training.pools import set_weights

pytestmark = pytest.mark.training

N_BATCHES = 30


@st.composite
def pair_rows(draw: Any) -> Any:
    """Rows of up to four languages, with questions and passages that repeat."""
    n_rows = draw(st.integers(8, 60))
    n_groups = draw(st.integers(3, 20))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    query_language = rng.integers(0, 4, n_rows).astype(np.int32)
    passage_language = rng.integers(0, 4, n_rows).astype(np.int32)
    # Both kinds are there, so that every alpha can be drawn.
    query_language[:2], passage_language[:2] = [0, 0], [0, 1]
    return PairRows(
        question=rng.integers(0, n_rows, n_rows).astype(np.int32),
        query_language=query_language,
        passage_language=passage_language,
        group=rng.integers(0, n_groups, n_rows).astype(np.int32),
        source=rng.integers(0, 3, n_rows).astype(np.int32),
        weight=rng.choice([0.5, 1.0, 1.7], n_rows),
    )


def draws(
    rows: PairRows, alpha: float, batch_size: int, *, n: Any = N_BATCHES, seed: int = 0, **how: Any
) -> Any:
    draw = HybridDraw(rows, HybridSettings(alpha, **how), batch_size=batch_size, seed=seed)
    return list(itertools.islice(draw, n))


ALPHAS = st.sampled_from([0.0, 0.25, 0.5, 1.0])
SIZES = st.integers(2, 12)
KINDS = st.sampled_from(["homogeneous", "mixed"])
EXPONENTS = st.sampled_from([0.0, 0.3, 1.0])


@settings(deadline=None)
@given(pair_rows(), ALPHAS, SIZES, KINDS, EXPONENTS)
def test_no_two_members_of_a_batch_share_a_group_or_a_question(rows, alpha, size, kind, exponent):
    for batch in draws(rows, alpha, size, kind=kind, set_exponent=exponent):
        assert len(set(rows.group[batch].tolist())) == len(batch)
        assert len(set(rows.question[batch].tolist())) == len(batch)


@settings(deadline=None)
@given(pair_rows(), ALPHAS, SIZES)
def test_a_homogeneous_batch_is_in_one_language_or_wholly_cross_lingual(rows, alpha, size):
    for batch in draws(rows, alpha, size):
        query, passage = rows.query_language[batch], rows.passage_language[batch]
        in_one_language = len({*query.tolist(), *passage.tolist()}) == 1
        assert in_one_language or bool((query != passage).all())


@settings(deadline=None)
@given(pair_rows(), SIZES, KINDS)
def test_alpha_one_draws_monolingual_pairs_only_and_alpha_zero_none(rows, size, kind):
    assert all(rows.is_monolingual[b].all() for b in draws(rows, 1.0, size, kind=kind))
    assert not any(rows.is_monolingual[b].any() for b in draws(rows, 0.0, size, kind=kind))


@settings(deadline=None)
@given(pair_rows(), ALPHAS, SIZES, KINDS)
def test_batches_are_never_longer_than_asked_and_never_empty(rows, alpha, size, kind):
    lengths = [len(batch) for batch in draws(rows, alpha, size, kind=kind)]
    assert max(lengths) <= size
    assert min(lengths) >= 1


@settings(deadline=None)
@given(pair_rows(), ALPHAS, SIZES, KINDS, st.integers(0, 10))
def test_the_seed_decides_everything(rows, alpha, size, kind, seed):
    one, again = (draws(rows, alpha, size, kind=kind, seed=seed) for _ in range(2))
    assert one == again


def even_rows(n_groups: int = 40, n_languages: int = 4) -> Any:
    """Rows in which every group has every ordered pair of languages."""
    grid = np.array(
        [
            (g, q, p)
            for g in range(n_groups)
            for q in range(n_languages)
            for p in range(n_languages)
        ],
        dtype=np.int32,
    )
    group, query, passage = grid.T
    return PairRows(
        question=group * n_languages + query,
        query_language=query,
        passage_language=passage,
        group=group,
        source=np.zeros(len(group), np.int32),
        weight=np.ones(len(group)),
    )


@settings(deadline=None, max_examples=20)
@given(st.floats(0.05, 0.95), st.integers(0, 2**31), SIZES)
def test_alpha_is_the_share_of_monolingual_batches(alpha, seed, size):
    rows = even_rows()
    n = 400
    mono = sum(rows.is_monolingual[b].all() for b in draws(rows, alpha, size, n=n, seed=seed))
    # A binomial leaves this interval once in two million times.
    low, high = binom.interval(1 - 5e-7, n, alpha)
    assert low <= mono <= high


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.8])
def test_alpha_is_the_share_of_monolingual_members_of_a_mixed_batch(alpha):
    rows = even_rows()
    members = np.concatenate(draws(rows, alpha, 16, n=500, kind="mixed"))
    n = len(members)
    assert n == 500 * 16
    assert abs(rows.is_monolingual[members].sum() - n * alpha) < 5 * math.sqrt(
        n * alpha * (1 - alpha)
    )


def test_a_mixed_batch_mixes_what_a_homogeneous_one_keeps_apart():
    rows = even_rows()
    kinds = [set(rows.is_monolingual[b].tolist()) for b in draws(rows, 0.5, 16, kind="mixed")]
    assert {True, False} in kinds


@settings(deadline=None)
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


@settings(deadline=None, max_examples=6)
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


def test_languages_are_drawn_by_the_power_of_their_size():
    sizes = {0: 400, 1: 100, 2: 25}
    language = np.repeat(list(sizes), list(sizes.values())).astype(np.int32)
    n = len(language)
    numbers = np.arange(n, dtype=np.int32)
    rows = PairRows(numbers, language, language, numbers, np.zeros_like(numbers), np.ones(n))
    found = Counter(int(language[b[0]]) for b in draws(rows, 1.0, 5, n=3500, language_exponent=0.5))
    expected = {0: 3500 * 20 / 35, 1: 3500 * 10 / 35, 2: 3500 * 5 / 35}
    for number, count in expected.items():
        assert abs(found[number] - count) < 5 * math.sqrt(count)


def test_lareqas_arm_mixes_the_languages_of_a_monolingual_batch_by_their_size():
    """``batches = "mixed"`` with alpha 1: X-X with the languages mixed in the batch."""
    sizes = {0: 400, 1: 100, 2: 25}
    language = np.repeat(list(sizes), list(sizes.values())).astype(np.int32)
    numbers = np.arange(len(language), dtype=np.int32)
    zeros = np.zeros_like(numbers)
    rows = PairRows(numbers, language, language, numbers, zeros, np.ones(len(numbers)))
    batches = draws(rows, 1.0, 14, n=500, kind="mixed")
    assert all(rows.is_monolingual[batch].all() for batch in batches)
    assert all(len(batch) == 14 for batch in batches)
    assert sum(len(set(language[batch].tolist())) > 1 for batch in batches) > 490
    found = Counter(language[np.concatenate(batches)].tolist())
    n = 14 * 500
    for number, share in {0: 20 / 35, 1: 10 / 35, 2: 5 / 35}.items():
        assert abs(found[number] - n * share) < 5 * math.sqrt(n * share * (1 - share))


def rows_of_sets(sizes: Any, weights: Any, *, cross: Any = False) -> Any:
    source = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    numbers = np.arange(len(source), dtype=np.int32)
    zeros = np.zeros_like(numbers)
    other = zeros + 1 if cross else zeros
    return PairRows(numbers, zeros, other, numbers, source, np.array(weights)[source])


@settings(deadline=None, max_examples=20)
@given(st.floats(0.0, 1.0), st.sampled_from([0.5, 1.0, 3.0]), st.booleans(), st.integers(0, 9999))
def test_sets_are_drawn_by_their_weight_and_the_power_of_their_size(exponent, weight, cross, seed):
    sizes, weights = [300, 60, 20], [1.0, weight, 2.0]
    rows = rows_of_sets(sizes, weights, cross=cross)
    alpha = 0.0 if cross else 1.0
    batches = draws(rows, alpha, 10, n=600, seed=seed, set_exponent=exponent)
    drawn = rows.source[np.concatenate(batches)]
    parts = np.array(weights) * np.array(sizes) ** exponent
    shares, n = parts / parts.sum(), len(drawn)
    for number, share in enumerate(shares):
        found = (drawn == number).sum()
        assert abs(found - n * share) < 5 * math.sqrt(n * share * (1 - share))


@settings(deadline=None)
@given(pair_rows(), st.floats(0.0, 1.0))
def test_smoothing_leaves_the_length_of_a_cycle_and_an_exponent_of_one_leaves_all(rows, exponent):
    alone = np.arange(len(rows), dtype=np.int32)
    smoothed = set_weights(rows.weight, rows.source, alone, exponent)
    assert smoothed.sum() == pytest.approx(rows.weight.sum())
    unchanged = set_weights(rows.weight, rows.source, rows.group, 1.0)
    assert unchanged.tolist() == rows.weight.tolist()


def test_a_language_with_more_weight_is_drawn_more_often():
    rows = even_rows(n_languages=3)
    weights = {0: 4.0}
    mono = Counter(
        int(rows.query_language[b[0]])
        for b in draws(rows, 1.0, 4, n=1200, language_weights=weights)
    )
    assert abs(mono[0] - 800) < 5 * math.sqrt(1200 * 2 / 9)
    cross = np.concatenate(draws(rows, 0.0, 10, n=300, language_weights=weights))
    has_zero = (rows.query_language[cross] == 0) | (rows.passage_language[cross] == 0)
    # Pairs of a group: 4 with language 0, weight 4 each; 2 without, weight 1 each.
    assert has_zero.mean() == pytest.approx(16 / 18, abs=0.03)


def test_a_group_of_double_weight_comes_twice_as_often():
    numbers = np.arange(30, dtype=np.int32)
    zeros = np.zeros(30, np.int32)
    weight = np.where(numbers < 10, 2.0, 1.0)
    rows = PairRows(numbers, zeros, zeros, numbers, zeros, weight)
    seen = Counter(itertools.chain(*draws(rows, 1.0, 10, n=400)))
    heavy = sum(seen[k] for k in range(10)) / 10
    light = sum(seen[k] for k in range(10, 30)) / 20
    assert heavy / light == pytest.approx(2.0, rel=0.15)


def test_alpha_without_the_pairs_for_it_is_refused():
    numbers = np.arange(4, dtype=np.int32)
    zeros, ones = np.zeros(4, np.int32), np.ones(4, np.int32)
    with pytest.raises(RunError, match="shared_ids"):
        draws(PairRows(numbers, zeros, zeros, numbers, zeros, np.ones(4)), 0.5, 2)
    with pytest.raises(RunError, match="both sides in one language"):
        draws(PairRows(numbers, zeros, ones, numbers, zeros, np.ones(4)), 0.5, 2)


# Parallel rows


@settings(deadline=None)
@given(st.integers(0, 10**6), SIZES)
def test_an_align_batch_never_holds_a_group_twice(seed, size):
    rng = np.random.default_rng(seed)
    source = rng.integers(0, 3, 50).astype(np.int32)
    group = rng.integers(0, 30, 50).astype(np.int32)
    draw = AlignDraw(source, group, shares={0: 1.0, 1: 2.0, 2: 0.5}, batch_size=size, seed=seed)
    for batch in itertools.islice(draw, N_BATCHES):
        assert len(set(group[batch].tolist())) == len(batch) <= size


def test_sources_are_drawn_by_their_shares_whatever_their_size():
    source = np.repeat([0, 1, 2], [1000, 60, 1000]).astype(np.int32)
    group = np.arange(len(source), dtype=np.int32)
    draw = AlignDraw(source, group, shares={0: 1.0, 1: 3.0, 2: 0.0}, batch_size=20, seed=1)
    drawn = source[np.concatenate(list(itertools.islice(draw, 300)))]
    assert (drawn == 2).sum() == 0
    assert (drawn == 1).mean() == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_parallel_sources_can_be_drawn_by_the_power_of_their_size_too(exponent):
    source = np.repeat([0, 1], [900, 100]).astype(np.int32)
    group = np.arange(len(source), dtype=np.int32)
    shares = {0: 1.0, 1: 2.0}
    draw = AlignDraw(source, group, shares=shares, batch_size=20, set_exponent=exponent, seed=1)
    drawn = source[np.concatenate(list(itertools.islice(draw, 300)))]
    parts = np.array([1.0 * 900**exponent, 2.0 * 100**exponent])
    assert (drawn == 1).mean() == pytest.approx(parts[1] / parts.sum(), abs=0.04)


def test_an_align_batch_without_a_source_is_refused():
    with pytest.raises(RunError, match=r"data\.parallel"):
        AlignDraw(np.zeros(3, np.int32), np.arange(3, dtype=np.int32), shares={}, batch_size=2)


# The trainer's interface


def pair_dataset(rows: PairRows) -> Any:
    return Dataset.from_dict(
        {
            "question": rows.question,
            "query_language": rows.query_language,
            "passage_language": rows.passage_language,
            "group": rows.group,
            "source": rows.source,
            "weight": rows.weight,
        }
    )


def hybrid_sampler(n_batches: int = 12, **how: Any) -> Any:
    dataset = pair_dataset(even_rows())
    settings = HybridSettings(0.5)
    return HybridBatchSampler(dataset, 8, settings, n_batches=n_batches, **({"seed": 5} | how))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=15)
@given(st.integers(0, 12), st.integers(0, 3), st.integers(1, 3))
def test_resuming_at_a_position_gives_the_batches_that_remain(position, epoch, n_processes):
    sampler = hybrid_sampler(n_processes=n_processes)
    sampler.set_epoch(epoch)
    assert list(sampler)[position:] == list(sampler.iter_from(position))


def test_another_epoch_draws_other_batches_and_the_same_epoch_the_same():
    sampler = hybrid_sampler()
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert first == list(sampler)
    assert first != second


def test_the_length_is_the_number_of_batches():
    sampler = hybrid_sampler(n_batches=7)
    assert len(sampler) == len(list(sampler)) == 7
    dataset = pair_dataset(even_rows())
    assert len(HybridBatchSampler(dataset, 8, HybridSettings(0.5))) == 40 * 16 // 8


def test_the_factory_takes_what_the_trainer_gives():
    build = hybrid_batch_sampler(HybridSettings(0.5), n_batches=4)
    sampler = build(
        pair_dataset(even_rows()),
        batch_size=8,
        drop_last=True,
        valid_label_columns=["label"],
        generator=None,
        seed=5,
    )
    assert isinstance(sampler, DefaultBatchSampler)
    assert list(sampler) == list(hybrid_sampler(n_batches=4))


def test_a_mixed_sampler_draws_from_both_datasets_by_the_share():
    pairs = pair_dataset(even_rows())
    parallel = Dataset.from_dict({"source": [0] * 100, "group": list(range(100))})
    n = 400
    first = HybridBatchSampler(pairs, 8, HybridSettings(0.5), n_batches=n)
    second = AlignBatchSampler(parallel, 10, {0: 1.0}, n_batches=n)
    both: ConcatDataset[object] = ConcatDataset([pairs, parallel])
    sampler = MixedBatchSampler(first, second, dataset=both, second_share=0.3, seed=2, n_batches=n)
    batches = list(sampler)
    is_second = [min(batch) >= len(pairs) for batch in batches]
    assert all(min(b) >= len(pairs) or max(b) < len(pairs) for b in batches)
    assert abs(sum(is_second) - n * 0.3) < 5 * math.sqrt(n * 0.21)
    assert [b for b, s in zip(batches, is_second, strict=True) if not s] == list(first)[
        : n - sum(is_second)
    ]
    assert len(sampler) == n
