"""What the shipped alerts on calibration find, how late, and how often they are wrong.

    python -m benchmarks.drift_detection

Streams of labelled hits, half of them in the language of the query, with a change after a third.
The conditions are those of ``deploy/prometheus/rules``, on windows of as many labels as come in a
week, evaluated 100 times a window; tests prove that they equal PromQL's. Hits of one query come
together, ten at a time, and are correlated as ``--correlation`` says: each label is still right
with the stated probability, but errors no longer average out as they would if labels were
independent, which every z-score assumes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from app.core.calibration.calibrator import sigmoid
from app.core.calibration.monitoring import (
    BINS,
    CalibrationStatistics,
    LabelSums,
    bin_of,
    calibration_statistics,
)
from app.core.types import BoolArray, FloatArray
from deploy.prometheus.render import thresholds

HITS = 10
CENTRE, SPREAD = -2.0, 2.0
"""Of the stated logits, normally distributed: a fifth of the hits is relevant."""

EVALUATIONS = 100
"""In a window, which is a week: Prometheus evaluates more often."""

HOLD = 2
"""Evaluations in a row that a condition must hold: longer than the half hour of the rules."""

Truth = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What changes.

    Attributes:
        truth: Stated logit to true logit.
        shift: Added to the stated logits, which stay true.
        is_fault: Whether probabilities no longer hold.
    """

    truth: Truth = lambda logit: logit
    shift: float = 0.0
    is_fault: bool = True


def alerts(found: CalibrationStatistics, limits: Mapping[str, float]) -> frozenset[str]:
    """Return which of the shipped alerts hold for these statistics.

    Args:
        found: Statistics of the labels in the window.
        limits: ``deploy.prometheus.render.thresholds()``.
    """
    if found.labels < limits["least_labels"]:
        return frozenset()
    holding = set()
    if found.ece > limits["ece"] and found.ece_z > limits["ece_z"]:
        holding.add("IsoglotCalibrationDrift")
    ratio = limits["bias_ratio"]
    apart = found.expected > ratio * found.relevant or found.relevant > ratio * found.expected
    if abs(found.bias_z) > limits["bias_z"] and apart:
        holding.add("IsoglotCalibrationBias")
    return frozenset(holding)


def flatter(slope: float) -> Truth:
    """Return the truth whose logits are flatter while as many hits are relevant as promised."""
    logit = np.random.default_rng(0).normal(CENTRE, SPREAD, 200_000)
    promised = float(sigmoid(logit).mean())
    low, high = -5.0, 5.0
    for _ in range(50):
        middle = (low + high) / 2.0
        if float(sigmoid(logit * slope + middle).mean()) < promised:
            low = middle
        else:
            high = middle
    return lambda stated: stated * slope + low


SCENARIOS = {
    "no change": Scenario(is_fault=False),
    "harmless shift of the traffic": Scenario(shift=1.5, is_fault=False),
    "over-confident x1.5": Scenario(lambda logit: logit / 1.5),
    "prior shift -0.6": Scenario(lambda logit: logit - 0.6),
    "small prior shift -0.25": Scenario(lambda logit: logit - 0.25),
    "slope only": Scenario(flatter(1 / 1.5)),
}


def draw(
    labels: int, change: int, scenario: Scenario, correlation: float, seed: tuple[int, ...]
) -> tuple[FloatArray, FloatArray]:
    """Draw one stream.

    A hit is relevant where a standard normal, of which the share ``correlation`` of the variance is
    common to the hits of a query, lies below the quantile of its true probability (a Gaussian
    copula): every label by itself is right with exactly that probability.

    Returns:
        Stated probability and relevance, float64 of shape (labels,).
    """
    random = np.random.default_rng(seed)
    logit = random.normal(CENTRE, SPREAD, labels)
    logit[change:] += scenario.shift
    true = logit.copy()
    true[change:] = scenario.truth(logit[change:])
    common = np.repeat(random.normal(size=labels // HITS + 1), HITS)[:labels]
    own = random.normal(size=labels)
    noise = math.sqrt(correlation) * common + math.sqrt(1.0 - correlation) * own
    uniform = 0.5 * (1.0 + _erf(noise / math.sqrt(2.0)))
    return sigmoid(logit), (uniform < sigmoid(true)).astype(np.float64)


def alarms(
    stated: FloatArray, relevant: FloatArray, window: int, limits: Mapping[str, float]
) -> dict[str, BoolArray]:
    """Return alert to whether it fires after each label, bool of shape (labels,)."""
    rising = _rising(stated, relevant)
    step = max(1, window // EVALUATIONS)
    holding: dict[str, list[bool]] = {}
    for number, at in enumerate(range(0, len(stated), step)):
        sums = LabelSums(*(rising[:, at + 1] - rising[:, max(0, at + 1 - window)]))
        for alert in alerts(calibration_statistics(sums), limits):
            holding.setdefault(alert, [False] * (len(stated) // step + 1))[number] = True
    return {
        alert: np.repeat(_held(np.array(held)), step)[: len(stated)]
        for alert, held in holding.items()
    }


def _rising(stated: FloatArray, relevant: FloatArray) -> FloatArray:
    """Return the five counters before each label, float64 of shape (5, labels + 1, BINS)."""
    members = bin_of(stated)[:, None] == np.arange(BINS)
    values = (
        np.ones_like(stated), relevant, stated, stated * (1 - stated), (stated - relevant) ** 2,
    )  # fmt: skip
    added = np.stack([members * value[:, None] for value in values])
    return np.concatenate([np.zeros((5, 1, BINS)), np.cumsum(added, axis=1)], axis=1)


def _held(holding: BoolArray) -> BoolArray:
    firing = holding.copy()
    for back in range(1, HOLD):
        firing[back:] &= holding[:-back]
        firing[:back] = False
    return firing


def _erf(values: FloatArray) -> FloatArray:
    return np.array([math.erf(value) for value in values.tolist()])


@dataclass(frozen=True, slots=True)
class Found:
    """One run: labels from the change to the first alarm after it, and whether one came before."""

    false_alarm: bool
    delay: int | None


def run(
    scenario: Scenario, *, window: int, correlation: float, seed: int, limits: Mapping[str, float]
) -> dict[str, Found]:
    """Run two relations and return, by alert and for any of them, what was found."""
    labels, change = 12 * window, 4 * window
    firing: dict[str, BoolArray] = {}
    for relation in range(2):
        stream = draw(labels, change, scenario, correlation, (seed, relation))
        for alert, fires in alarms(*stream, window, limits).items():
            firing[alert] = firing.get(alert, np.zeros(labels, dtype=np.bool_)) | fires
    silent = np.zeros(labels, dtype=np.bool_)
    drift = firing.get("IsoglotCalibrationDrift", silent)
    bias = firing.get("IsoglotCalibrationBias", silent)
    return {
        name: _found(fires, change)
        for name, fires in (("drift", drift), ("bias", bias), ("either", drift | bias))
    }


def _found(firing: BoolArray, change: int) -> Found:
    after = np.flatnonzero(firing[change:])
    return Found(bool(firing[:change].any()), int(after[0]) + 1 if after.size else None)


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--window", type=int, default=500, help="labels of a relation in a week")
    parser.add_argument("--correlation", type=float, default=0.0, help="within a query, 0 to 1")
    parser.add_argument("--limits", nargs="*", default=[], metavar="NAME=VALUE",
                        help="thresholds to try instead of those shipped")  # fmt: skip
    options = parser.parse_args()
    tried = dict(limit.split("=", 1) for limit in options.limits)
    limits = thresholds() | {name: float(value) for name, value in tried.items()}
    print(f"| {options.window} labels a week, correlation {options.correlation:g} | "
          "before the change | drift | bias | either | median delay |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- |")
    for name, scenario in SCENARIOS.items():
        runs = [
            run(scenario, window=options.window, correlation=options.correlation, seed=seed,
                limits=limits)
            for seed in range(options.runs)
        ]  # fmt: skip
        print(_row(name, runs), flush=True)


def _row(name: str, runs: list[dict[str, Found]]) -> str:
    def after(alert: str) -> str:
        return f"{sum(one[alert].delay is not None for one in runs)}/{len(runs)}"

    delays = [one["either"].delay for one in runs if one["either"].delay is not None]
    before = sum(one["either"].false_alarm for one in runs)
    delay = f"{np.median(delays):.0f} labels" if delays else "-"
    found = " | ".join(after(alert) for alert in ("drift", "bias", "either"))
    return f"| {name} | {before}/{len(runs)} | {found} | {delay} |"


if __name__ == "__main__":
    main()
