"""Statistics of language bias that say how much a finding may be trusted.

All of them compare translations of one text, which answer a query equally well: whatever orders
them is not relevance. Where nothing but chance orders them, every order is as likely as its
reverse, which is all that ``symmetric_z`` needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from app.core.types import FloatArray


def advantages(ranks: Mapping[str, float]) -> dict[str, float]:
    """Return how far ahead of its translations each language stands: 1 first, 0 middle, -1 last.

    Args:
        ranks: Language to the rank of its translation; at least two. Equal ranks share a place.
    """
    values = np.array(list(ranks.values()))
    places = mid_ranks(values)
    count = len(values)
    scaled = (count + 1 - 2 * places) / (count - 1)
    return dict(zip(ranks, scaled.tolist(), strict=True))


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; ``None`` where there is nothing to take it of."""
    return float(np.mean(values)) if values else None


def symmetric_z(values: Sequence[float]) -> float:
    """Return sum(x) / sqrt(sum(x^2)): how far from 0 independent symmetric values lie.

    For values as likely as their negatives, P(z >= t) <= exp(-t^2 / 2) at any sample size
    (Hoeffding 1963, on the random signs of given magnitudes). It never exceeds the square root
    of their number, so few values cannot convict anyone.
    """
    sample = np.asarray(values, dtype=np.float64)
    length = float(np.sqrt(np.sum(sample**2)))
    return float(np.sum(sample)) / length if length > 0.0 else 0.0


def z_threshold(comparisons: int, *, false_alarms: float) -> float:
    """Return the |z| that ``comparisons`` tests together exceed with at most this probability.

    From the bound of ``symmetric_z`` on both sides, and Bonferroni over the comparisons.
    """
    return math.sqrt(2.0 * math.log(2.0 * max(comparisons, 1) / false_alarms))


def kruskal_wallis(samples: Sequence[FloatArray]) -> tuple[float, float]:
    """Return H, corrected for ties, and its p-value; (0, 1) where there is nothing to compare.

    Kruskal and Wallis 1952. The p-value is that of chi-squared with one degree of freedom less
    than there are samples, which is rough for samples of less than five values.

    Args:
        samples: float64 arrays, none of them empty.
    """
    pooled = np.concatenate(samples) if samples else np.zeros(0)
    _, tied = np.unique(pooled, return_counts=True)
    if len(samples) < 2 or tied.size < 2:
        return 0.0, 1.0
    n = pooled.size
    ranks = mid_ranks(pooled)
    ends = np.cumsum([sample.size for sample in samples])
    squares = sum(float(part.sum()) ** 2 / part.size for part in np.split(ranks, ends[:-1]))
    h = 12.0 / (n * (n + 1)) * squares - 3.0 * (n + 1)
    h /= 1.0 - float(np.sum(tied.astype(np.float64) ** 3 - tied)) / (float(n) ** 3 - n)
    return h, chi_squared_tail(h, len(samples) - 1)


def chi_squared_tail(x: float, degrees: int) -> float:
    """Return P(X > x) of chi-squared with a whole number of degrees of freedom, at least 1.

    The finite series of Abramowitz and Stegun, 26.4.4 and 26.4.5.
    """
    if x <= 0.0:
        return 1.0
    half = x / 2.0
    if degrees % 2:
        first, tail = 0.5, math.erfc(math.sqrt(half))
    else:
        first, tail = 0.0, 0.0
    exponents = [first + step for step in range(degrees // 2)]
    logs = [-half + e * math.log(half) - math.lgamma(e + 1.0) for e in exponents]
    return min(1.0, tail + math.fsum(map(math.exp, logs)))


def mid_ranks(values: FloatArray) -> FloatArray:
    """Return ranks from 1, smallest first; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: FloatArray = (last - (counts - 1) / 2.0)[inverse]
    return shared
