"""AUROC, AURC, slope and intercept; their intervals against a bootstrap that does all the work."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from app.core.calibration.fit import fit_logistic
from training.metrics.bootstrap import cluster_weights
from training.metrics.calibration import measure
from training.metrics.discrimination import auroc, risk_coverage

pytestmark = pytest.mark.training

REPLICATES = 200


@pytest.fixture(scope="module")
def sample():
    """Hits of 60 clusters that have levels of their own, so that clusters matter."""
    rng = np.random.default_rng(2)
    cluster = np.repeat(np.arange(60), 25)
    logit = rng.normal(-1.0, 1.5, len(cluster))
    truth = 0.7 * logit + rng.normal(0.0, 0.8, 60)[cluster]
    relevant = rng.random(len(cluster)) < 1 / (1 + np.exp(-truth))
    return 1 / (1 + np.exp(-logit)), relevant, cluster


def resampled(sample: Any, statistic: Callable[[Any, Any], float]) -> Any:
    """Apply a statistic to the hits of every replicate, written out hit by hit."""
    probability, relevant, cluster = sample
    values = []
    for times in cluster_weights(60, replicates=REPLICATES):
        rows = np.repeat(np.arange(len(cluster)), times[cluster].astype(int))
        values.append(statistic(probability[rows], relevant[rows].astype(np.float64)))
    return np.percentile(values, [2.5, 97.5])


def slope(p, y):
    return fit_logistic(np.log(p / (1 - p))[:, None], y).coef[0]


def level(p, y):
    return fit_logistic(np.log(p / (1 - p))[:, None], y).intercept


@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        ("auroc", lambda p, y: roc_auc_score(y, p)),
        ("aurc", lambda p, y: risk_coverage(p, y).risk.mean()),
        ("slope", slope),
        ("intercept", level),
    ],
)
def test_an_interval_is_that_of_the_written_out_bootstrap(sample, name, statistic):
    found = measure(*sample, replicates=REPLICATES).intervals[name]
    probability, relevant, _ = sample
    assert found.value == pytest.approx(statistic(probability, relevant.astype(float)), rel=1e-6)
    low, high = resampled(sample, statistic)
    assert found.low == pytest.approx(low, abs=0.06 * (high - low))
    assert found.high == pytest.approx(high, abs=0.06 * (high - low))


def test_auroc_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    probability, relevant = rng.integers(0, 9, 300) / 9, (rng.random(300) < 0.3).astype(float)
    assert auroc(probability, relevant) == pytest.approx(roc_auc_score(relevant, probability))


def test_the_risk_coverage_curve_by_hand():
    curve = risk_coverage(np.array([0.9, 0.5, 0.5, 0.1]), np.array([1.0, 1.0, 0.0, 0.0]))
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(curve.risk, [0.0, 0.25, 1 / 3, 0.5])  # ties share their mean risk
    ends = risk_coverage(np.array([0.9, 0.5, 0.5, 0.1]), np.array([1.0, 1.0, 0.0, 0.0]), points=2)
    np.testing.assert_allclose(ends.coverage, [0.25, 1.0])
