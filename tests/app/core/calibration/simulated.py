"""Labels that follow a known logit."""

import numpy as np


def simulate(coef, intercept: float, n: int = 40_000, seed: int = 0):
    """Return features (n, f) and labels (n,)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0.4, 0.15, (n, len(coef)))
    logit = x @ np.array(coef) + intercept
    return x, (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
