"""Thresholds with a guarantee: how low a probability may be and still be shown, or answered with.

Both promise something about queries that are exchangeable with those the threshold was chosen on
(the same users, encoder, calibrator and collection), whether or not the probabilities hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from app.core.calibration.fit_ridge import GroupArray
from app.core.calibration.parts import Threshold
from app.core.types import BoolArray, FloatArray

ANSWER_TARGET = 0.4
ANSWER_CONFIDENCE = 0.9
HIDDEN_TARGET = 0.1
"""What is promised where nobody says otherwise."""

_STEPS = 200
_ROOM = 4


@dataclass(frozen=True, slots=True)
class ChosenThreshold:
    """A threshold.

    Attributes:
        value: Probability from which on a hit is shown, or a query answered.
        n: Queries that it was chosen on.
    """

    value: float
    n: int


def bound_hidden(
    probability: FloatArray, relevant: BoolArray, queries: GroupArray, *, target: float
) -> ChosenThreshold | None:
    """Return the highest threshold that hides few of a query's relevant hits.

    The expected share of a query's relevant hits with a probability below it is at most
    ``target``, over queries that have one: conformal risk control (Angelopoulos et al. 2024).
    ``None`` where there are too few queries to promise that.

    Args:
        probability: Of every hit, shape (n,).
        relevant: Whether it is relevant, shape (n,).
        queries: Number of the query of every hit, shape (n,).
        target: Bound of the expected share, above 0 and below 1.
    """
    _, query, counts = np.unique(queries[relevant], return_inverse=True, return_counts=True)
    n = len(counts)
    if not n or 1.0 / (n + 1) > target:
        return None
    order = np.argsort(probability[relevant], kind="stable")
    shown = probability[relevant][order]
    risk = np.cumsum(1.0 / counts[query][order]) / n
    hidden = int(((n * risk + 1.0) / (n + 1) <= target).sum())
    return ChosenThreshold(float(shown[hidden]), n)


def bound_wrong(
    probability: FloatArray, right: BoolArray, *, target: float, confidence: float
) -> ChosenThreshold | None:
    """Return the lowest threshold whose answers are rarely wrong.

    Of the queries with at least this probability a share of at most ``target`` is wrong, with the
    given confidence: Learn then Test (Angelopoulos et al. 2021) along a fixed sequence of
    thresholds from strict to lax, with exact binomial tests. The sequence depends on the
    probabilities alone. ``None`` where no threshold passes.

    Args:
        probability: Of the answer to every query, shape (n,).
        right: Whether it is right, shape (n,).
        target: Bound of the share of wrong ones among those answered, above 0 and below 1.
        confidence: How often the bound should hold over draws of the queries.
    """
    descending = np.sort(probability)[::-1]
    # Fewer could not pass even if all were right; and where the sequence begins one that is wrong
    # must not be its end.
    fewest = math.ceil(math.log1p(-confidence) / math.log1p(-target))
    if len(descending) < fewest:
        return None
    start = min(_ROOM * fewest, len(descending))
    places = np.unique(np.linspace(start, len(descending), _STEPS).astype(np.int64)) - 1
    passed: ChosenThreshold | None = None
    for value in descending[places]:
        answered = probability >= value
        wrong = int((answered & ~right).sum())
        if _binomial_tail(wrong, int(answered.sum()), target) > 1.0 - confidence:
            break
        passed = ChosenThreshold(float(value), len(probability))
    return passed


def answer_threshold(
    probability: FloatArray, right: BoolArray, *, target: float, confidence: float, scope: str
) -> Threshold | None:
    """Return ``bound_wrong`` as a part of a calibrator document; ``None`` where there is none."""
    found = bound_wrong(probability, right, target=target, confidence=confidence)
    if found is None:
        return None
    return Threshold(
        kind="ltt",
        value=found.value,
        target=target,
        confidence=confidence,
        n=found.n,
        scope=scope,
        guarantee=f"Of the questions that reach it at most {_percent(target)} have a first hit "
        f"that is not relevant, with {_percent(confidence)} confidence.",
    )


def hit_threshold(
    probability: FloatArray, relevant: BoolArray, queries: GroupArray, *, target: float, scope: str
) -> Threshold | None:
    """Return ``bound_hidden`` as a part of a calibrator document; ``None`` where there is none."""
    found = bound_hidden(probability, relevant, queries, target=target)
    if found is None:
        return None
    return Threshold(
        kind="crc",
        value=found.value,
        target=target,
        n=found.n,
        scope=scope,
        guarantee=f"Of the relevant hits of a question on average at most {_percent(target)} "
        "have a lower probability.",
    )


def _percent(share: float) -> str:
    return f"{100.0 * share:g} %"


def _binomial_tail(most: int, n: int, rate: float) -> float:
    """Return P(at most ``most`` of n), each with probability ``rate``."""
    k = np.arange(most + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    log_choose = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
    return float(np.exp(log_choose + k * math.log(rate) + (n - k) * math.log1p(-rate)).sum())
