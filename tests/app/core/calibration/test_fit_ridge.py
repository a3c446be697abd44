import numpy as np
import pytest

from app.core.calibration.fit import FREE, Penalty
from app.core.calibration.fit_ridge import choose_ridge, group_folds
from app.core.errors import CalibrationError
from tests.app.core.calibration.simulated import simulate


def test_a_group_is_never_in_two_folds():
    groups = np.random.default_rng(0).integers(0, 40, 500)
    folds = group_folds(groups, 5, seed=1)
    for group in range(40):
        assert len(np.unique(folds[groups == group])) <= 1
    assert len(np.unique(folds)) == 5


def test_fewer_groups_than_folds_make_fewer_folds():
    assert set(group_folds(np.array([7, 7, 9]), 5).tolist()) == {0, 1}


def test_the_ridge_that_predicts_new_queries_is_chosen():
    x, y = simulate([8.0, 0.0], -4.0, n=2_000)
    choice = choose_ridge(x, y, np.arange(2_000) // 20, (1.0, 1e6), penalty=Penalty(5.0))
    assert choice.penalty.ridge == 1.0
    assert choice.nll[1.0] < choice.nll[1e6]


def test_luck_of_queries_is_not_taken_for_signal():
    """Every query has a feature of its own; only folds by query see that it predicts nothing."""
    rng = np.random.default_rng(0)
    query = np.repeat(np.arange(60), 20)
    y = (rng.random(1200) < rng.beta(0.4, 0.8, 60)[query]).astype(float)
    x = (query[:, None] == np.arange(60)).astype(float)
    units = Penalty(units=np.ones(60))
    ridges = (0.1, 100.0)
    by_query = choose_ridge(x, y, query, ridges, penalty=units)
    by_row = choose_ridge(x, y, np.arange(1200), ridges, penalty=units)
    assert by_row.penalty.ridge == 0.1
    assert by_query.nll[0.1] >= by_query.nll[100.0]


def test_a_single_candidate_is_taken_without_a_fit():
    choice = choose_ridge(np.zeros((0, 1)), np.zeros(0), np.zeros(0, np.int64), (3.0,))
    assert choice.penalty.ridge == 3.0
    assert not choice.nll


def test_weights_say_whose_prediction_counts():
    x, y = simulate([8.0], -4.0, n=1_000)
    groups = np.arange(1_000) // 10
    weights = np.where(np.arange(1_000) < 500, 1.0, 1e-9)
    part = choose_ridge(x, y, groups, (1.0, 10.0), weights=weights)
    whole = choose_ridge(x, y, groups, (1.0, 10.0))
    assert part.nll[1.0] != pytest.approx(whole.nll[1.0], abs=1e-4)


def test_one_query_is_not_enough_to_choose():
    x, y = simulate([5.0], -2.0, n=40)
    with pytest.raises(CalibrationError, match="all judged hits are of one query"):
        choose_ridge(x, y, np.zeros(40, np.int64), (1.0, 2.0), penalty=FREE)
