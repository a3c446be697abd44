"""Whether stated probabilities hold: statistics of labelled hits, from sums that can be added.

A label is a hit that was stated to be relevant with probability ``p`` and was found to be relevant
(``y`` = 1) or not. Ten bins of ``p`` keep five sums each, and sums of processes, days or
calibration sets add up. The rules of Prometheus (``deploy/prometheus/rules/calibration.yml``)
compute the same statistics from the same sums, and a test proves that the two agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray

BINS = 10
"""Bins of equal width over the stated probability."""

LEAST_IN_BIN = 50
"""Labels below which a bin has no say in the maximum error."""

_MEAN_ABSOLUTE = 2.0 / math.pi
"""E|x|^2 of a standard normal x; its variance in absolute value is one minus that."""


def bin_of(probability: FloatArray) -> NDArray[np.int64]:
    """Return the bin, 0 to 9, of probabilities of shape (n,), as int64 of that shape."""
    return np.minimum((probability * BINS).astype(np.int64), BINS - 1)


@dataclass(frozen=True, slots=True, eq=False)
class LabelSums:
    """Sums over labelled hits by bin of the stated probability; float64 arrays of shape (BINS,).

    Attributes:
        hits: Number of labels.
        relevant: Sum of y.
        probability: Sum of p.
        variance: Sum of p(1 - p).
        brier: Sum of (p - y)^2.
    """

    hits: FloatArray
    relevant: FloatArray
    probability: FloatArray
    variance: FloatArray
    brier: FloatArray

    @classmethod
    def of(cls, probability: FloatArray, relevant: FloatArray) -> LabelSums:
        """Sum up labels.

        Args:
            probability: Stated probabilities, float64 of shape (n,).
            relevant: 1 where the hit is relevant, else 0; float64 of shape (n,).
        """
        bins = bin_of(probability)

        def summed(values: FloatArray) -> FloatArray:
            return np.bincount(bins, weights=values, minlength=BINS).astype(np.float64)

        return cls(
            hits=summed(np.ones_like(probability)),
            relevant=summed(relevant),
            probability=summed(probability),
            variance=summed(probability * (1.0 - probability)),
            brier=summed((probability - relevant) ** 2),
        )

    def __add__(self, other: LabelSums) -> LabelSums:
        return LabelSums(
            hits=self.hits + other.hits,
            relevant=self.relevant + other.relevant,
            probability=self.probability + other.probability,
            variance=self.variance + other.variance,
            brier=self.brier + other.brier,
        )


@dataclass(frozen=True, slots=True)
class CalibrationStatistics:
    """What labels say about stated probabilities; NaN where they say nothing.

    Attributes:
        labels: Number of labels.
        expected: Relevant hits that were promised, sum p.
        relevant: Relevant hits that were found, sum y.
        ece: Expected calibration error, sum_b |sum p - sum y| / N.
        ece_floor: What it is on average where every p is true: chance alone,
            sum_b sqrt(2/pi sum p(1-p)) / N, from the normal approximation to each bin.
        ece_z: (ece - ece_floor) in standard deviations of that chance.
        mce: Largest error of a bin with at least ``LEAST_IN_BIN`` labels.
        expected_observed: expected / relevant.
        bias_z: (expected - relevant) / sqrt(sum p(1-p)); positive where too much is promised.
            Labels of one query are correlated, which makes it larger than standard normal.
        brier: Mean of (p - y)^2.
    """

    labels: float
    expected: float
    relevant: float
    ece: float
    ece_floor: float
    ece_z: float
    mce: float
    expected_observed: float
    bias_z: float
    brier: float


def calibration_statistics(sums: LabelSums) -> CalibrationStatistics:
    """Return what labels say about the probabilities that were stated."""
    labels = float(sums.hits.sum())
    expected, relevant = float(sums.probability.sum()), float(sums.relevant.sum())
    variance = float(sums.variance.sum())
    gaps = np.abs(sums.probability - sums.relevant)
    gap, chance = float(gaps.sum()), float(np.sqrt(_MEAN_ABSOLUTE * sums.variance).sum())
    spread = math.sqrt((1.0 - _MEAN_ABSOLUTE) * variance)
    heard = sums.hits >= LEAST_IN_BIN
    return CalibrationStatistics(
        labels=labels,
        expected=expected,
        relevant=relevant,
        ece=_ratio(gap, labels),
        ece_floor=_ratio(chance, labels),
        ece_z=_ratio(gap - chance, spread),
        mce=float((gaps[heard] / sums.hits[heard]).max()) if heard.any() else math.nan,
        expected_observed=_ratio(expected, relevant),
        bias_z=_ratio(expected - relevant, math.sqrt(variance)),
        brier=_ratio(float(sums.brier.sum()), labels),
    )


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0.0 else math.nan
