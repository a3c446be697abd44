import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from tests.training.pair_rows import SIZES, draws, even_rows, pair_rows
from training.drawing import AlignDraw, PairRows
from training.pools import set_weights

pytestmark = pytest.mark.training


@settings(max_examples=20)
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


@settings(max_examples=20)
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
