"""How well probabilities tell relevant hits from others, whatever their height.

Area under the ROC curve and under the risk-coverage curve (El-Yaniv and Wiener 2010), each with a
cluster bootstrap. A replicate is computed from cells of equal mass, by rising probability, whose
hits count as tied, so that it costs a matrix product; the value itself is exact, and what the
cells change of it is taken out of every replicate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from app.core.types import FloatArray
from training.metrics.bootstrap import Estimate, interval
from training.retrieval_set import RowArray

CELLS = 256

_OfCells: TypeAlias = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """What is wrong among the most probable hits, for every share of them; shapes (points,).

    Attributes:
        coverage: Share of hits, ascending to 1.
        risk: Share of irrelevant ones among them.
    """

    coverage: FloatArray
    risk: FloatArray


def risk_coverage(
    probability: FloatArray, relevant: FloatArray, *, points: int | None = None
) -> RiskCoverage:
    """Return the risk-coverage curve; ties share their mean risk.

    Args:
        probability: Shape (n,).
        relevant: 0 or 1, shape (n,).
        points: Evenly spaced points of the curve to keep; all n by default.
    """
    values, group = np.unique(-probability, return_inverse=True)
    mean = np.bincount(group, weights=relevant) / np.bincount(group, minlength=len(values))
    shown = np.arange(1, len(group) + 1)
    risk: FloatArray = 1.0 - np.cumsum(mean[np.sort(group)]) / shown
    kept = np.arange(len(group))
    if points is not None:
        kept = np.unique(np.linspace(0, len(group) - 1, points).round().astype(np.int64))
    return RiskCoverage(shown[kept] / len(group), risk[kept])


def auroc(probability: FloatArray, relevant: FloatArray) -> float:
    """Return how often a relevant hit has the higher probability; ties count one half.

    NaN where there is one class only.

    Args:
        probability: Shape (n,).
        relevant: 0 or 1, shape (n,).
    """
    _, tied = np.unique(probability, return_inverse=True)
    counts = np.array([[np.bincount(tied), np.bincount(tied, weights=relevant)]])
    return float(_auroc_of_cells(counts[:, 0], counts[:, 1])[0])


def discrimination(
    probability: FloatArray, relevant: FloatArray, cluster: RowArray, weights: FloatArray
) -> dict[str, Estimate]:
    """Return ``auroc`` and ``aurc`` with their intervals.

    Args:
        probability: Shape (n,).
        relevant: 0 or 1, shape (n,).
        cluster: Number of the cluster of every hit, from 0, shape (n,).
        weights: How often a cluster is drawn, shape (replicates, clusters).
    """
    edges = np.quantile(probability, np.linspace(0.0, 1.0, CELLS + 1)[1:-1])
    cell = np.searchsorted(edges, probability, side="left")
    shape = (weights.shape[1], CELLS)
    place = cluster * CELLS + cell
    count, right = (
        np.bincount(place, weights=column, minlength=shape[0] * CELLS).reshape(shape)
        for column in (np.ones(len(place)), relevant)
    )

    def estimate(
        value: float, of_cells: Callable[[FloatArray, FloatArray], FloatArray]
    ) -> Estimate:
        coarse = of_cells(count.sum(axis=0)[None], right.sum(axis=0)[None])[0]
        return interval(value, of_cells(weights @ count, weights @ right) + (value - coarse))

    return {
        "auroc": estimate(auroc(probability, relevant), _auroc_of_cells),
        "aurc": estimate(float(risk_coverage(probability, relevant).risk.mean()), _aurc_of_cells),
    }


def _auroc_of_cells(count: FloatArray, relevant: FloatArray) -> FloatArray:
    """Return AUROCs from hits and relevant hits by cell, shapes (m, cells)."""
    wrong = count - relevant
    below = np.cumsum(wrong, axis=1) - 0.5 * wrong
    pairs = relevant.sum(axis=1) * wrong.sum(axis=1)
    found: FloatArray = np.full(len(count), np.nan)
    np.divide((relevant * below).sum(axis=1), pairs, out=found, where=pairs > 0)
    return found


def _aurc_of_cells(count: FloatArray, relevant: FloatArray) -> FloatArray:
    """Return areas under risk-coverage curves; arguments as of ``_auroc_of_cells``.

    After ``C`` hits of which ``R`` are wrong, ``c`` tied hits with a share ``s`` of wrong ones
    contribute the sum over j = 1..c of (R + j s) / (C + j) = c s + (R - C s) (H(C + c) - H(C)),
    with harmonic numbers H(n) = ln(n + 1/2) + constant + O(1 / n^2).
    """
    count, wrong = count[:, ::-1], (count - relevant)[:, ::-1]
    share = wrong / np.maximum(count, 1.0)
    after, all_wrong = np.cumsum(count, axis=1), np.cumsum(wrong, axis=1)
    before = after - count
    grown = np.log((after + 0.5) / (before + 0.5))
    total = (wrong + ((all_wrong - wrong) - before * share) * grown).sum(axis=1)
    found: FloatArray = total / after[:, -1]
    return found
