"""Labelled hits whose truth is known: probabilities are drawn, then labels from what is true."""

from collections.abc import Callable

import numpy as np

from app.core.calibration.calibrator import sigmoid
from app.core.calibration.monitoring import LabelSums
from app.core.types import FloatArray
from tests.monitoring.promtool import STEP, constant, rising, window

Truth = Callable[[FloatArray], FloatArray]

COUNTERS = {
    "isoglot_feedback_hits_total": "hits",
    "isoglot_feedback_relevant_total": "relevant",
    "isoglot_feedback_probability_sum_total": "probability",
    "isoglot_feedback_variance_sum_total": "variance",
    "isoglot_feedback_brier_sum_total": "brier",
}


def draw(
    labels: int,
    truth: Truth = lambda logit: logit,
    *,
    seed: int = 1,
    centre: float = -2.0,
    spread: float = 2.0,
):
    """Draw labels; ``truth`` maps the stated logit to the true one.

    Returns:
        Stated probability and relevance, each float64 of shape (labels,).
    """
    random = np.random.default_rng(seed)
    logit = random.normal(centre, spread, labels)
    relevant = (random.random(labels) < sigmoid(truth(logit))).astype(np.float64)
    return sigmoid(logit), relevant


def series(sums: LabelSums, **labels: object) -> list[dict[str, str]]:
    """The counters that these labels make when they come in evenly during the label window."""
    return [
        rising(
            metric, float(getattr(sums, member)[tenth]), window(), STEP,
            **labels, bin=tenth, source="explicit",
        )
        for metric, member in COUNTERS.items()
        for tenth in range(10)
    ]  # fmt: skip


def language_series(sums: LabelSums, **labels: object) -> list[dict[str, str]]:
    """The counters by language that these labels make, as ``series``."""
    return [
        rising(
            metric.replace("_feedback_", "_language_feedback_"),
            float(getattr(sums, member).sum()), window(), STEP, **labels,
        )
        for metric, member in COUNTERS.items()
    ]  # fmt: skip


def answering() -> dict[str, str]:
    return constant("up", 1, job="isoglot", instance="api:8000")


def active(calibrator: str, role: str = "active") -> dict[str, str]:
    return constant(
        "isoglot_calibrator_info", 1, calibrator=calibrator, encoder="e", kind="logit-linear",
        role=role, job="isoglot", instance="api:8000",
    )  # fmt: skip
