from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.access.rate_limit import RateLimit, RateLimiter, TokenBucket

rates = st.floats(0.5, 60_000.0)
bursts = st.integers(1, 500)
pauses = st.lists(st.floats(0.0, 30.0), max_size=200)


@given(rates, bursts, pauses)
def test_no_more_pass_than_the_burst_and_what_has_flowed_in(rate, burst, waits):
    bucket = TokenBucket(RateLimit(rate, burst), now=0.0)
    now = 0.0
    passed = 0
    for wait in waits:
        now += wait
        passed += bucket.take(now).allowed
        assert passed <= burst + now * rate / 60 + 1e-6


@given(rates, bursts, st.floats(0.0, 100.0))
def test_whoever_waits_as_told_gets_through(rate, burst, start):
    bucket = TokenBucket(RateLimit(rate, burst), now=start)
    while (ruling := bucket.take(start)).allowed:
        pass

    assert ruling.remaining == 0
    assert ruling.retry_after >= 1
    assert bucket.take(start + ruling.retry_after + 1e-6).allowed


@given(rates, bursts)
def test_a_full_bucket_lets_just_the_burst_through_and_counts_it_down(rate, burst):
    bucket = TokenBucket(RateLimit(rate, burst), now=0.0)
    rulings = [bucket.take(0.0) for _ in range(burst + 1)]

    assert [ruling.remaining for ruling in rulings] == [*range(burst - 1, -1, -1), 0]
    assert [ruling.allowed for ruling in rulings] == [True] * burst + [False]


def test_a_bucket_never_holds_more_than_its_burst():
    bucket = TokenBucket(RateLimit(60, 2), now=0.0)

    assert [bucket.take(1e6).allowed for _ in range(3)] == [True, True, False]


def test_a_clock_that_goes_back_gives_nothing_away():
    bucket = TokenBucket(RateLimit(60, 1), now=100.0)
    assert bucket.take(100.0).allowed

    assert not bucket.take(50.0).allowed
    assert not bucket.take(100.5).allowed
    assert bucket.take(101.0).allowed


@pytest.mark.parametrize(
    ("rate", "burst", "window"), [(60, 60, 60), (600, 10, 1), (1, 1, 60), (7, 3, 26)]
)
def test_the_window_is_the_time_in_which_an_empty_bucket_fills(rate, burst, window):
    limit = RateLimit(rate, burst)

    assert limit.window == window == math.ceil(burst * 60 / rate)


def test_the_burst_is_a_minutes_worth_unless_it_is_given():
    assert RateLimit.of(90.5).burst == 90
    assert RateLimit.of(0.1).burst == 1
    assert RateLimit.of(90.5, 7).burst == 7


def test_callers_do_not_take_from_each_other():
    limiter = RateLimiter()
    limit = RateLimit(60, 1)

    assert limiter.take("a", limit, now=0.0).allowed
    assert limiter.take("b", limit, now=0.0).allowed
    assert not limiter.take("a", limit, now=0.0).allowed


def test_a_changed_limit_counts_at_once():
    limiter = RateLimiter()
    limiter.take("a", RateLimit(60, 1), now=0.0)

    assert limiter.take("a", RateLimit(60, 5), now=0.0).remaining == 4


@given(rates, bursts, st.integers(0, 64))
def test_what_a_batch_owes_is_paid_by_waiting(rate, burst, more):
    bucket = TokenBucket(RateLimit(rate, burst), now=0.0)
    bucket.take(0.0)
    ruling = bucket.owe(more, 0.0)

    assert ruling.remaining == max(0, burst - 1 - more)
    if ruling.retry_after:
        assert not bucket.take(max(0.0, (more + 1 - burst) * 60 / rate)).allowed
        assert bucket.take(ruling.retry_after + 1e-6).allowed


def test_what_is_owed_is_owed_by_the_caller_alone():
    limiter = RateLimiter()
    limit = RateLimit(60, 3)
    limiter.take("a", limit, now=0.0)

    assert limiter.owe("a", limit, 5, now=0.0).retry_after == 4
    assert limiter.take("b", limit, now=0.0).remaining == 2
