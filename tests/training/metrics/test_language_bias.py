import numpy as np
import pytest
from scipy import stats

from training.metrics import language_bias

pytestmark = pytest.mark.training

NAN, INF = np.nan, np.inf


def languages(*rows: str) -> np.ndarray:
    return np.array([row.split() for row in rows])


def test_rank_distance_is_the_last_rank_minus_the_first():
    ranks = np.array([[7.0, 2.0, 40.0], [5.0, 6.0, NAN]])
    spoken = np.array([["de", "en", "es"], ["de", "en", ""]])
    np.testing.assert_array_equal(language_bias.rank_distance(ranks, spoken), [38.0, 1.0])


def test_rank_distance_is_not_known_where_a_translation_was_not_returned():
    ranks = np.array([[7.0, INF]])
    assert np.isnan(language_bias.rank_distance(ranks, languages("de en")))


def test_rank_distance_needs_two_languages():
    ranks = np.array([[7.0, 9.0], [3.0, NAN], [NAN, NAN]])
    spoken = np.array([["de", "de"], ["de", ""], ["", ""]])
    assert np.isnan(language_bias.rank_distance(ranks, spoken)).all()


def test_the_preference_counts_whose_language_comes_first():
    ranks = np.array([[3.0, 1.0], [3.0, 1.0], [INF, 8.0]])
    spoken = languages("de en", "de en", "de en")
    asked = np.array(["de", "en", "de"])
    found = language_bias.first_relevant_is_same(ranks, spoken, asked)
    np.testing.assert_array_equal(found, [0.0, 1.0, 0.0])


def test_there_is_no_preference_without_a_choice():
    ranks = np.array([[3.0, 1.0], [3.0, 1.0], [INF, INF], [NAN, NAN]])
    spoken = np.array([["de", "de"], ["fr", "es"], ["de", "en"], ["", ""]])
    asked = np.array(["de", "de", "de", "de"])
    assert np.isnan(language_bias.first_relevant_is_same(ranks, spoken, asked)).all()


def test_peer_by_hand():
    # German at 1, 2 and English at 3, 4: H = 12 / (4 * 5) * (3^2 / 2 + 7^2 / 2) - 3 * 5 = 2.4.
    ranks = np.array([[1.0, 2.0, 3.0, 4.0]])
    grades = np.ones((1, 4))
    found = language_bias.peer(ranks, grades, languages("de de en en"))
    assert found == pytest.approx(stats.chi2.sf(2.4, 1))
    assert found == pytest.approx(0.1213, abs=1e-4)


def test_only_the_order_of_the_relevant_passages_counts():
    grades, spoken = np.ones((1, 4)), languages("de de en en")
    near = language_bias.peer(np.array([[1.0, 2.0, 3.0, 4.0]]), grades, spoken)
    far = language_bias.peer(np.array([[1.0, 20.0, 300.0, 4000.0]]), grades, spoken)
    assert near == far


def test_what_is_below_the_cutoff_or_not_returned_shares_one_tied_rank():
    # Ranks 1, 3, 3, 3 of 4: mean 2.5, sums 4 and 6; H by hand with the correction for ties:
    # 12 / 20 * (4^2 / 2 + 6^2 / 2) - 15 = 0.6, divided by 1 - (27 - 3) / (64 - 4) = 0.6.
    ranks = np.array([[1.0, 25.0, 30.0, INF]])
    found = language_bias.peer(ranks, np.ones((1, 4)), languages("de de en en"), cutoff=20)
    assert found == pytest.approx(stats.chi2.sf(1.0, 1))
    whole = language_bias.peer(ranks, np.ones((1, 4)), languages("de de en en"))
    assert whole == pytest.approx(stats.chi2.sf(2.4, 1))


def test_one_language_is_fair_and_so_is_finding_nothing():
    ranks = np.array([[1.0, 2.0, 9.0, NAN], [INF, INF, INF, INF]])
    spoken = np.array([["de", "de", "de", ""], ["de", "de", "en", "en"]])
    np.testing.assert_array_equal(language_bias.peer(ranks, np.ones((2, 4)), spoken), [1.0, 1.0])


def test_grades_are_tested_apart_and_averaged():
    ranks = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    grades = np.array([[2.0, 2.0, 2.0, 2.0, 1.0, 1.0]])
    spoken = languages("de de en en de de")
    apart = stats.chi2.sf(2.4, 1)
    found = language_bias.peer(ranks, grades, spoken)
    assert found == pytest.approx((apart + 1.0) / 2)
    found = language_bias.peer(ranks, grades, spoken, weights={1: 0.25, 2: 0.75})
    assert found == pytest.approx(0.75 * apart + 0.25)
    assert np.isnan(language_bias.peer(ranks, grades, spoken, weights={3: 1.0}))


def test_a_query_without_relevant_passages_has_no_peer():
    assert np.isnan(language_bias.peer(np.full((1, 2), NAN), np.zeros((1, 2)), languages("de en")))


def test_peer_equals_scipy_on_random_ranks():
    rng = np.random.default_rng(0)
    codes = np.array(["de", "en", "es"])
    for _ in range(20):
        order = rng.permutation(50)[:9].astype(float) + 1
        spoken = codes[rng.integers(0, 3, 9)]
        samples = [order[spoken == code] for code in np.unique(spoken)]
        found = language_bias.peer(order[None], np.ones((1, 9)), spoken[None])
        assert found == pytest.approx(stats.kruskal(*samples).pvalue)


def test_with_one_passage_a_language_no_order_can_change_the_p_value():
    spoken = languages("de en es")
    grades = np.ones((1, 3))
    values = {
        float(language_bias.peer(np.array([order]), grades, spoken)[0])
        for order in ([1.0, 2.0, 3.0], [9.0, 4.0, 1.0], [2.0, 700.0, 1.0])
    }
    assert len(values) == 1
    assert not language_bias.peer_can_differ(np.array([[1.0, 2.0, 3.0]]), grades, spoken).any()


def test_which_queries_can_tell():
    ranks = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, NAN], [1.0, 2.0, 3.0]])
    grades = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 1.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    spoken = np.array(
        [["de", "de", "en"], ["de", "de", "en"], ["de", "de", ""], ["de", "en", "es"]]
    )
    found = language_bias.peer_can_differ(ranks, grades, spoken)
    assert found.tolist() == [True, False, False, False]
