"""Which of the shipped alerts on calibration hold."""

from __future__ import annotations

from collections.abc import Mapping

from app.core.calibration.monitoring import CalibrationStatistics


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
