"""Cluster bootstrap: what is resampled is the question, with all its translations.

Translations of one question are not independent, and neither are the hits of one list: resampling
rows gives intervals that are far too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray, JsonValue

REPLICATES = 1000
_TAILS = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % percentile interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, JsonValue]:
        """Return the JSON object of this estimate; what is not a number becomes null."""
        named = {"value": self.value, "low": self.low, "high": self.high}
        return {name: number if np.isfinite(number) else None for name, number in named.items()}


def cluster_weights(clusters: int, *, replicates: int = REPLICATES, seed: int = 0) -> FloatArray:
    """Return how often each cluster is drawn, float64 of shape (replicates, clusters)."""
    rng = np.random.default_rng(seed)
    share = np.full(clusters, 1.0 / clusters)
    return rng.multinomial(clusters, share, size=replicates).astype(np.float64)


def interval(value: float, replicated: FloatArray) -> Estimate:
    """Return a value with the percentile interval of its replicates; NaN replicates are dropped."""
    finite = replicated[np.isfinite(replicated)]
    if not finite.size:
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.percentile(finite, _TAILS)
    return Estimate(value, float(low), float(high))


def cluster_sums(
    values: FloatArray, groups: NDArray[np.str_], clusters: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """Return sum and number of the observations of every cluster in every group.

    Both are float64 of shape (clusters, groups); NaN observations are left out.
    """
    used = np.isfinite(values)
    _, group = np.unique(groups[used], return_inverse=True)
    _, cluster = np.unique(clusters[used], return_inverse=True)
    shape = (int(cluster.max()) + 1, int(group.max()) + 1)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (cluster, group), values[used])
    np.add.at(counts, (cluster, group), 1.0)
    return sums, counts


def macro_mean(
    values: FloatArray,
    groups: NDArray[np.str_],
    clusters: NDArray[np.int64],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Estimate:
    """Return the mean over groups of the mean inside each group.

    Args:
        values: One value an observation, shape (n,); NaN observations are left out.
        groups: The group (a language, a language pair) of every observation.
        clusters: The cluster of every observation.
        replicates: Number of bootstrap replicates.
        seed: Seed of the resampling.
    """
    sums, counts = cluster_sums(values, groups, clusters)
    weights = cluster_weights(len(sums), replicates=replicates, seed=seed)
    point = float(np.mean(sums.sum(axis=0) / counts.sum(axis=0)))
    with np.errstate(invalid="ignore"):  # a replicate may miss a group: NaN, dropped
        replicated = ((weights @ sums) / (weights @ counts)).mean(axis=1)
    return interval(point, replicated)
