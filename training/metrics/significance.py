"""Is the difference between two systems more than chance? Paired tests over clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray
from training.metrics.bootstrap import cluster_sums

PERMUTATIONS = 9999
_AT_A_TIME = 1000
_ROUNDING = 1e-12


def paired_randomisation(
    differences: FloatArray,
    groups: NDArray[np.str_],
    clusters: NDArray[np.int64],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of a paired randomisation test.

    If both systems were the same, exchanging them on a question, with all its translations, would
    change nothing: the sign of a cluster's differences is random. The p-value is the share of
    random exchanges, the real one included, whose macro mean is at least as far from 0
    (Smucker et al. 2007; Phipson and Smyth 2010 for the 1 that is added).

    Args:
        differences: One difference an observation, shape (n,); NaN observations are left out.
        groups: The group of every observation; the statistic is the mean over groups of the mean
            inside each group.
        clusters: What is exchanged together.
        permutations: Number of random exchanges.
        seed: Seed of the exchanges.
    """
    sums, counts = cluster_sums(differences, groups, clusters)
    per_cluster = (sums / counts.sum(axis=0)).mean(axis=1)
    seen = abs(per_cluster.sum())
    rng = np.random.default_rng(seed)
    extreme = 0
    for start in range(0, permutations, _AT_A_TIME):
        size = (min(_AT_A_TIME, permutations - start), len(per_cluster))
        signs = rng.integers(0, 2, size=size) * 2.0 - 1.0
        extreme += int((np.abs(signs @ per_cluster) >= seen - _ROUNDING).sum())
    return (1 + extreme) / (1 + permutations)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for testing all of them (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    running = 0.0
    for position, index in enumerate(order):
        running = max(running, (len(p_values) - position) * p_values[index])
        adjusted[index] = min(1.0, running)
    return [float(value) for value in adjusted]
