import numpy as np
import pytest
from scipy import stats

from training.metrics.significance import holm, paired_randomisation

pytestmark = pytest.mark.training


def groups_of(n: int) -> np.ndarray:
    return np.full(n, "en")


def test_the_p_value_is_that_of_all_exchanges():
    differences = np.array([0.3, 0.1, -0.05, 0.2, 0.15, 0.02, 0.4, -0.1])
    exact = stats.permutation_test(
        (differences, np.zeros(8)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    ).pvalue
    found = paired_randomisation(differences, groups_of(8), np.arange(8), permutations=40_000)
    assert found == pytest.approx(exact, abs=0.01)


def test_translations_of_a_question_are_exchanged_together():
    rng = np.random.default_rng(0)
    per_question = rng.normal(0.1, 0.3, 12)
    differences = np.repeat(per_question, 10)
    clusters = np.repeat(np.arange(12), 10)
    together = paired_randomisation(differences, groups_of(120), clusters)
    alone = paired_randomisation(per_question, groups_of(12), np.arange(12))
    apart = paired_randomisation(differences, groups_of(120), np.arange(120))
    assert together == pytest.approx(alone, abs=0.02)
    assert apart < together / 5


def test_without_a_difference_small_p_values_are_as_rare_as_they_say():
    small = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        values = rng.standard_normal(30)
        small += paired_randomisation(values, groups_of(30), np.arange(30), permutations=199) <= 0.1
    assert 8 <= small <= 34  # 99.9 % of a binomial with 200 trials and 0.1


def test_every_language_weighs_the_same():
    differences = np.array([1.0, 1.0, 1.0, 1.0, -1.0])
    groups = np.array(["en", "en", "en", "en", "de"])
    assert paired_randomisation(differences, groups, np.arange(5)) == 1.0


def test_identical_systems_have_p_value_1():
    assert paired_randomisation(np.zeros(5), groups_of(5), np.arange(5), permutations=99) == 1.0


def test_a_seed_makes_the_p_value_repeatable():
    values = np.random.default_rng(1).standard_normal(40) + 0.2
    first = paired_randomisation(values, groups_of(40), np.arange(40), seed=3)
    assert first == paired_randomisation(values, groups_of(40), np.arange(40), seed=3)


def test_holm_by_hand():
    # Sorted: .01 * 4, .02 * 3, .03 * 2, .3 * 1; never smaller than the one before.
    assert holm([0.02, 0.3, 0.01, 0.03]) == pytest.approx([0.06, 0.3, 0.04, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
