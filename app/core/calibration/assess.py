"""How well probabilities hold on judged hits, with intervals from a bootstrap over queries.

Formulas are the usual ones, with weights: mean negative log-likelihood and Brier score, expected
over observed relevant hits, the expected calibration error over bins of equal weight, and the area
under the ROC curve. Whole queries are drawn, because hits of one list are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from app.core.calibration.evidence import Estimate, ReliabilityBin
from app.core.calibration.fit_ridge import GroupArray
from app.core.calibration.resampling import resampled_groups
from app.core.types import FloatArray

BINS = 10
DRAWS = 500
_TINY = 1e-12

Statistic = Callable[[FloatArray, FloatArray, FloatArray], float]
"""Of probabilities, labels and weights, each of shape (n,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Judged hits, one entry a hit.

    Attributes:
        relevant: 0 or 1, shape (n,).
        weights: At least 0, shape (n,).
        query: Number of the query, shape (n,).
    """

    relevant: FloatArray
    weights: FloatArray
    query: GroupArray

    def draws(self, count: int = DRAWS, seed: int = 0) -> list[FloatArray]:
        """Return weights under resamples of whole queries, with replacement."""
        _, group = np.unique(self.query, return_inverse=True)
        groups = int(group.max()) + 1
        drawn = resampled_groups(groups, count, seed)
        return [self.weights * times[group] for times in drawn]

    def estimate(self, statistic: Callable[[FloatArray], float], level: float = 0.95) -> Estimate:
        """Return a statistic of the weights with its bootstrap interval.

        Draws for which it has no value (no relevant hit, say) are left out.
        """
        found = np.array([statistic(w) for w in self.draws() if self._has_both(w)])
        ends: tuple[float, float] | None = None
        if len(found):
            low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
            ends = float(low), float(high)
        value = statistic(self.weights)
        return Estimate(value=value, low=ends and ends[0], high=ends and ends[1])

    def _has_both(self, weights: FloatArray) -> bool:
        relevant = float(weights @ self.relevant)
        return 0.0 < relevant < float(weights.sum())


def losses(p: FloatArray, y: FloatArray) -> FloatArray:
    """Return the negative log-likelihood of every hit, shape (n,)."""
    clipped = np.clip(p, _TINY, 1.0 - _TINY)
    each: FloatArray = -(y * np.log(clipped) + (1.0 - y) * np.log1p(-clipped))
    return each


def expected_observed(p: FloatArray, y: FloatArray, w: FloatArray) -> float:
    """Return expected relevant hits divided by relevant hits."""
    return float(w @ p) / float(w @ y)


def brier(p: FloatArray, y: FloatArray, w: FloatArray) -> float:
    """Return the mean squared error of the probability."""
    return float(w @ (p - y) ** 2) / float(w.sum())


def nll(p: FloatArray, y: FloatArray, w: FloatArray) -> float:
    """Return the mean negative log-likelihood."""
    return float(w @ losses(p, y)) / float(w.sum())


def ece(p: FloatArray, y: FloatArray, w: FloatArray) -> float:
    """Return the expected calibration error over ``BINS`` bins of equal weight."""
    bins = _bins(p, w)
    gaps = np.bincount(bins, w * (p - y), minlength=BINS)
    return float(np.abs(gaps).sum()) / float(w.sum())


def auroc(p: FloatArray, y: FloatArray, w: FloatArray) -> float:
    """Return P(a relevant hit is stated higher than an irrelevant one), ties counting half."""
    _, tied = np.unique(p, return_inverse=True)
    positive = np.bincount(tied, w * y)
    negative = np.bincount(tied, w * (1.0 - y))
    below = np.cumsum(negative) - negative
    return float(positive @ (below + 0.5 * negative)) / float(positive.sum() * negative.sum())


STATISTICS: Mapping[str, Statistic] = {
    "nll": nll,
    "brier": brier,
    "ece": ece,
    "expected_observed": expected_observed,
    "auroc": auroc,
}


def assess(p: FloatArray, sample: Sample) -> dict[str, Estimate]:
    """Return every statistic of ``STATISTICS`` with its 95 % interval."""
    y = sample.relevant

    def of(statistic: Statistic) -> Estimate:
        return sample.estimate(lambda w: statistic(p, y, w))

    return {name: of(statistic) for name, statistic in STATISTICS.items()}


def reliability(p: FloatArray, sample: Sample) -> tuple[ReliabilityBin, ...]:
    """Return bins of equal weight by rising probability, with intervals of what was found."""
    w, y = sample.weights, sample.relevant
    bins = _bins(p, w)
    resampled = sample.draws()
    made = []
    for number in range(BINS):
        inside = bins == number
        total = float(w[inside].sum())
        if total <= 0.0:
            continue
        shares = [float(d[inside] @ y[inside]) / s for d in resampled if (s := d[inside].sum()) > 0]
        low, high = np.quantile(shares, [0.025, 0.975])
        found = Estimate(
            value=float(w[inside] @ y[inside]) / total, low=float(low), high=float(high)
        )
        stated = float(w[inside] @ p[inside]) / total
        made.append(ReliabilityBin(hits=int(inside.sum()), stated=min(stated, 1.0), found=found))
    return tuple(made)


def _bins(p: FloatArray, w: FloatArray) -> GroupArray:
    """Return the bin of every hit; equal probabilities share one."""
    values, tied = np.unique(p, return_inverse=True)
    weight = np.bincount(tied, w, minlength=len(values))
    middle = np.cumsum(weight) - 0.5 * weight
    of_value = np.minimum((BINS * middle / weight.sum()).astype(np.int64), BINS - 1)
    found: GroupArray = of_value[tied]
    return found
