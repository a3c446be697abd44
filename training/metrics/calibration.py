"""How well probabilities hold: proper scores, calibration errors, and what they rest on.

Everything is computed from sums over clusters, so that the cluster bootstrap costs one matrix
product. Sources: Murphy 1973 (Brier decomposition), Naeini et al. 2015 (ECE), Kumar et al. 2019
(debiased squared error).

ECE is biased upwards at small n and looks small wherever relevance is rare: read it beside the
base rate and the debiased error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.core.errors import CalibrationError
from app.core.types import BoolArray, FloatArray, JsonValue
from training.metrics.bootstrap import REPLICATES, Estimate, cluster_weights, interval
from training.metrics.cox import cox
from training.metrics.discrimination import discrimination
from training.retrieval_set import RowArray

BINS = 15
MIN_BIN = 50
"""A bin needs so many hits to be named as the worst one."""

_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """A reliability diagram, one entry a non-empty bin.

    Attributes:
        stated: Mean probability.
        observed: Share of relevant hits.
        hits: Number of hits.
    """

    stated: FloatArray
    observed: FloatArray
    hits: FloatArray

    def to_json(self) -> dict[str, JsonValue]:
        """Return the JSON object of this diagram."""
        return {name: getattr(self, name).tolist() for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class CalibrationMeasures:
    """How well the probabilities of some hits hold.

    Attributes:
        hits: Number of hits.
        relevant: How many of them are relevant.
        clusters: Number of clusters they come from.
        intervals: Metric to value and 95 % cluster bootstrap interval: ``base_rate``,
            ``expected_observed`` (sum of probabilities / relevant hits), ``nll``, ``brier``,
            ``ece`` (equal mass), ``ece_equal_width``, ``l2_debiased`` (signed root of the
            debiased squared calibration error), ``ace`` (mean gap of the bins of equal width),
            ``mce`` (largest gap of the equal-mass bins with ``MIN_BIN`` hits), ``sharpness``
            (variance of the probabilities), ``slope`` and ``intercept`` (1 and 0 are right),
            ``auroc``, ``aurc`` (area under the risk-coverage curve); NaN where not defined.
        points: Metric to value without interval: ``reliability``, ``resolution`` and
            ``uncertainty`` of the Brier score.
        diagram: Equal-mass reliability diagram.
    """

    hits: int
    relevant: int
    clusters: int
    intervals: dict[str, Estimate]
    points: dict[str, float]
    diagram: Reliability

    def to_json(self) -> dict[str, JsonValue]:
        """Return the JSON object of these measures; what is not defined becomes null."""
        return {
            "hits": self.hits,
            "relevant": self.relevant,
            "clusters": self.clusters,
            **{name: dict(value.to_json()) for name, value in self.intervals.items()},
            **self.points,
            "diagram": self.diagram.to_json(),
        }


def measure(
    probability: FloatArray,
    relevant: BoolArray,
    clusters: RowArray,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> CalibrationMeasures:
    """Measure probabilities against labels.

    Args:
        probability: Stated probabilities, shape (n,), n at least 1.
        relevant: Labels, shape (n,).
        clusters: What is resampled, one number a hit.
        replicates: Number of bootstrap replicates.
        seed: Seed of the resampling.

    Raises:
        CalibrationError: There is no hit, or a probability is not one.
    """
    _check(probability)
    p, y = probability.astype(np.float64), relevant.astype(np.float64)
    _, cluster = np.unique(clusters, return_inverse=True)
    weights = cluster_weights(int(cluster.max()) + 1, replicates=replicates, seed=seed)

    def estimate(sums: FloatArray, statistic: Callable[[FloatArray], FloatArray]) -> Estimate:
        point = float(statistic(sums.sum(axis=0)[None, :])[0])
        with np.errstate(divide="ignore", invalid="ignore"):
            return interval(point, statistic(weights @ sums))

    mass, width = equal_mass_bins(p), equal_width_bins(p)
    clipped = np.clip(p, _TINY, 1.0 - _TINY)
    loss = -(y * np.log(clipped) + (1.0 - y) * np.log1p(-clipped))
    summed = (np.ones(len(p)), y, p, loss, (p - y) ** 2, p**2)
    simple: FloatArray = np.column_stack(
        [np.bincount(cluster, weights=column) for column in summed]
    ).astype(np.float64)
    by_mass, by_width = _binned_sums(p, y, mass, cluster), _binned_sums(p, y, width, cluster)
    return CalibrationMeasures(
        hits=len(p),
        relevant=int(y.sum()),
        clusters=weights.shape[1],
        intervals={
            "base_rate": estimate(simple, lambda s: s[:, 1] / s[:, 0]),
            "expected_observed": estimate(simple, _expected_observed),
            "nll": estimate(simple, lambda s: s[:, 3] / s[:, 0]),
            "brier": estimate(simple, lambda s: s[:, 4] / s[:, 0]),
            "ece": estimate(by_mass, _ece),
            "ece_equal_width": estimate(by_width, _ece),
            "l2_debiased": estimate(by_mass, _l2_debiased),
            "ace": estimate(by_width, _ace),
            "mce": estimate(by_mass, _mce),
            "sharpness": estimate(simple, lambda s: s[:, 5] / s[:, 0] - (s[:, 2] / s[:, 0]) ** 2),
            **cox(p, y, cluster, weights),
            **discrimination(p, y, cluster, weights),
        },
        points=_brier_parts(by_mass.sum(axis=0)),
        diagram=_diagram(by_mass.sum(axis=0)),
    )


def equal_mass_bins(probability: FloatArray, bins: int = BINS) -> RowArray:
    """Return the bin of every probability; equal probabilities share a bin."""
    edges = np.quantile(probability, np.linspace(0.0, 1.0, bins + 1)[1:-1])
    return np.searchsorted(edges, probability, side="left")


def equal_width_bins(probability: FloatArray, bins: int = BINS) -> RowArray:
    """Return the bin of every probability among bins of equal width."""
    return np.minimum((probability * bins).astype(np.int64), bins - 1)


def reliability_bins(
    probability: FloatArray, relevant: BoolArray, clusters: RowArray, *, bins: int = BINS
) -> list[tuple[int, float, Estimate]]:
    """Return the non-empty equal-mass bins of a reliability diagram, by rising probability.

    Args:
        probability: Stated probabilities, shape (n,).
        relevant: Labels, shape (n,).
        clusters: What is resampled, one number a hit.
        bins: How many bins to make.

    Returns:
        Of every bin: number of hits, mean probability, and the share of relevant hits with its
        95 % cluster bootstrap interval.

    Raises:
        CalibrationError: There is no hit, or a probability is not one.
    """
    _check(probability)
    p, y = probability.astype(np.float64), relevant.astype(np.float64)
    _, cluster = np.unique(clusters, return_inverse=True)
    sums = _binned_sums(p, y, equal_mass_bins(p, bins), cluster, bins)
    weights = cluster_weights(len(sums))
    count, stated, observed = np.split(sums.sum(axis=0), 3)
    resampled = weights @ sums
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = resampled[:, 2 * bins :] / resampled[:, :bins]
    return [
        (
            int(count[at]),
            float(stated[at] / count[at]),
            interval(float(observed[at] / count[at]), shares[:, at]),
        )
        for at in np.flatnonzero(count)
    ]


def _binned_sums(
    p: FloatArray, y: FloatArray, bin_of: RowArray, cluster: RowArray, bins: int = BINS
) -> FloatArray:
    """Return per cluster [count | sum p | sum y] by bin, shape (clusters, 3 * bins)."""
    cell, clusters = cluster * bins + bin_of, int(cluster.max()) + 1
    blocks = [
        np.bincount(cell, weights=column, minlength=clusters * bins).reshape(clusters, bins)
        for column in (np.ones(len(p)), p, y)
    ]
    return np.concatenate(blocks, axis=1).astype(np.float64)


def _split(sums: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    return sums[..., :BINS], sums[..., BINS : 2 * BINS], sums[..., 2 * BINS :]


def _expected_observed(s: FloatArray) -> FloatArray:
    ratio: FloatArray = np.full(len(s), np.nan)
    np.divide(s[:, 2], s[:, 1], out=ratio, where=s[:, 1] > 0)
    return ratio


def _ece(s: FloatArray) -> FloatArray:
    count, stated, observed = _split(s)
    result: FloatArray = np.abs(stated - observed).sum(axis=1) / count.sum(axis=1)
    return result


def _ace(s: FloatArray) -> FloatArray:
    count, gap = _gaps(s)
    result: FloatArray = gap.sum(axis=1) / (count > 0).sum(axis=1)
    return result


def _mce(s: FloatArray) -> FloatArray:
    count, gap = _gaps(s)
    enough = count >= MIN_BIN
    largest: FloatArray = np.where(enough, gap, -1.0).max(axis=1)
    return np.where(enough.any(axis=1), largest, np.nan)


def _gaps(s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return number of hits and |stated - observed| of every bin, 0 for an empty one."""
    count, stated, observed = _split(s)
    return count, np.abs(stated - observed) / np.maximum(count, 1.0)


def _l2_debiased(s: FloatArray) -> FloatArray:
    count, stated, observed = _split(s)
    many = np.maximum(count, 2.0)
    rate = observed / many
    squared = (stated / many - rate) ** 2 - rate * (1.0 - rate) / (many - 1.0)
    total = np.where(count >= 2, count * squared, 0.0).sum(axis=1) / count.sum(axis=1)
    signed: FloatArray = np.sign(total) * np.sqrt(np.abs(total))
    return signed


def _brier_parts(sums: FloatArray) -> dict[str, float]:
    diagram, base = _diagram(sums), sums[2 * BINS :].sum() / sums[:BINS].sum()
    share = diagram.hits / diagram.hits.sum()
    return {
        "reliability": float(share @ (diagram.stated - diagram.observed) ** 2),
        "resolution": float(share @ (diagram.observed - base) ** 2),
        "uncertainty": float(base * (1.0 - base)),
    }


def _diagram(sums: FloatArray) -> Reliability:
    count, stated, observed = _split(sums)
    used = count > 0
    return Reliability(stated[used] / count[used], observed[used] / count[used], count[used])


def _check(probability: FloatArray) -> None:
    if not len(probability):
        raise CalibrationError("There is no judged hit to measure probabilities on.")
    if not (np.isfinite(probability).all() and (np.abs(probability - 0.5) <= 0.5).all()):
        raise CalibrationError("A probability to measure is not a number in [0, 1].")
