import math

import numpy as np
import pytest

from app.core.calibration.fit_thresholds import _binomial_tail, bound_hidden, bound_wrong


def lists(queries: int, seed: int, *, hits: int = 10):
    """Hits whose probabilities are wrong: the guarantees must not need right ones."""
    rng = np.random.default_rng(seed)
    query = np.repeat(np.arange(queries), hits)
    stated = rng.random(queries * hits)
    return stated, rng.random(queries * hits) < stated**2, query


def hidden_share(served, threshold: float) -> float:
    stated, relevant, query = served
    shares = [
        (stated[(query == q) & relevant] < threshold).mean()
        for q in np.unique(query)
        if relevant[query == q].any()
    ]
    return float(np.mean(shares))


def test_the_share_of_hidden_relevant_hits_stays_below_its_bound_on_average():
    realised = []
    for seed in range(30):
        chosen = bound_hidden(*lists(200, seed), target=0.1)
        assert chosen is not None
        realised.append(hidden_share(lists(200, 1000 + seed), chosen.value))
    assert 0.08 < np.mean(realised) < 0.105


def test_by_hand_the_second_lowest_relevant_hit_is_the_last_that_may_be_hidden():
    stated = np.array([0.1, 0.5, 0.2, 0.6, 0.3, 0.7, 0.05])
    relevant = np.array([True] * 6 + [False])
    queries = np.array([0, 0, 1, 1, 2, 2, 2])
    # Hiding k of six halves: (3 * k / 6 + 1) / 4 <= .5 up to k = 2.
    chosen = bound_hidden(stated, relevant, queries, target=0.5)
    assert chosen is not None
    assert (chosen.value, chosen.n) == (0.3, 3)


def test_too_few_queries_promise_nothing():
    stated, relevant, query = lists(5, 0)
    assert bound_hidden(stated, relevant, query, target=0.1) is None
    assert bound_hidden(stated, relevant & False, query, target=0.1) is None
    assert bound_wrong(np.full(20, 0.9), np.ones(20, bool), target=0.1, confidence=0.95) is None


def answers(n: int, seed: int):
    rng = np.random.default_rng(seed)
    stated = rng.random(n)
    return stated, rng.random(n) < np.sqrt(stated)


def test_answers_above_the_threshold_are_as_rarely_wrong_as_promised():
    broken, answered = 0, []
    for seed in range(200):
        stated, right = answers(600, seed)
        chosen = bound_wrong(stated, right, target=0.2, confidence=0.9)
        if chosen is None:
            continue
        # True share of wrong answers above t: 1 - mean of sqrt(u) over u in [t, 1].
        t = chosen.value
        true = 1.0 - (1.0 - t**1.5) / 1.5 / (1.0 - t)
        broken += true > 0.2
        answered.append(1.0 - t)
    assert broken <= 0.1 * 200 + 3 * math.sqrt(200 * 0.1 * 0.9)
    assert np.mean(answered) > 0.4
    assert len(answered) > 190


def test_answers_that_are_all_right_are_all_given():
    stated = np.linspace(0.2, 0.9, 300)
    chosen = bound_wrong(stated, np.ones(300, bool), target=0.05, confidence=0.95)
    assert chosen is not None
    assert (chosen.value, chosen.n) == (0.2, 300)


def test_answers_that_are_mostly_wrong_get_no_threshold():
    assert (
        bound_wrong(np.linspace(0, 1, 500), np.arange(500) % 2 == 0, target=0.1, confidence=0.9)
        is None
    )


@pytest.mark.parametrize(("most", "n", "rate"), [(0, 10, 0.1), (3, 10, 0.4), (10, 10, 0.7)])
def test_the_binomial_tail_is_exact(most, n, rate):
    exact = sum(math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(most + 1))
    assert _binomial_tail(most, n, rate) == pytest.approx(exact, rel=1e-12)
