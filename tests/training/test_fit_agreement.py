"""Our fits against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from app.core.calibration.fit import Penalty, fit_logistic
from tests.app.core.calibration.simulated import simulate

pytestmark = pytest.mark.training


@pytest.mark.parametrize("ridge", [0.5, 20.0, 400.0])
def test_a_ridge_fit_equals_that_of_scikit_learn(ridge):
    x, y = simulate([7.0, -3.0, 1.0], -2.0, n=1_500)
    ours = fit_logistic(x, y, penalty=Penalty(ridge, units=np.ones(3)))
    theirs = LogisticRegression(C=1.0 / ridge, tol=1e-10, max_iter=1_000).fit(x, y)
    np.testing.assert_allclose(ours.coef, theirs.coef_[0], atol=1e-4)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=1e-4)


def test_a_weighted_fit_without_ridge_equals_that_of_scikit_learn():
    x, y = simulate([7.0, -3.0], -2.0, n=1_500)
    weights = np.random.default_rng(0).uniform(0.1, 3.0, 1_500)
    ours = fit_logistic(x, y, weights=weights)
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1_000)
    theirs.fit(x, y, sample_weight=weights)
    np.testing.assert_allclose(ours.coef, theirs.coef_[0], atol=1e-3)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-ours.logit(x))), theirs.predict_proba(x)[:, 1], atol=1e-4
    )
