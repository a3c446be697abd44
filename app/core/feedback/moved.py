"""The calibrator that a proposal describes, as a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any

from app.core.calibration.document import CalibratorDocument, dump_calibrator
from app.core.feedback.labels import Labels
from app.core.feedback.refit import Proposal

_VOID = ("interval", "thresholds", "evidence")
"""Members that say how well the former parameters were known, or what they guarantee."""


def moved_calibrator(
    document: CalibratorDocument, proposal: Proposal, labels: Labels, *, fitted: date
) -> str:
    """Return the JSON text of the active calibrator, moved as proposed.

    Every head moves alike, the one of the first hit included: it drifts for the same reasons, but
    its own labels were not looked at. Intervals and thresholds of the former parameters are left
    out, because they do not hold for these.

    Args:
        document: The active calibrator.
        proposal: What came of the refit.
        labels: What it was fitted on.
        fitted: Day of the fit.

    Raises:
        CalibrationError: The result would break a law of probabilities.
    """
    content = document.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for name in _VOID:
        content.pop(name, None)
    for name in ("hit", "pooled", "first_hit"):
        relation = 0.0 if name == "pooled" else proposal.same_shift
        content[name] = _moved_head(content[name], proposal, relation)
    if "language_offsets" in content:
        content["language_offsets"] = _scaled(content["language_offsets"], proposal.scale)
    before, after = proposal.nll or (0.0, 0.0)
    content["fit"] = {
        **content["fit"],
        "hits": proposal.labels,
        "queries": proposal.queries,
        "relevant": proposal.relevant,
        "data_sha256": labels.digest,
        "nll": [before, after],
        "source": "feedback",
        "towards": document.id,
        "fitted": fitted.isoformat(),
    }
    said = asdict(proposal)
    content["metrics"] = {"feedback": {**said, "languages": list(labels.languages)}}
    return dump_calibrator(content)


def _moved_head(head: Mapping[str, Any], proposal: Proposal, same_shift: float) -> dict[str, Any]:
    weights = dict(zip(head["features"], head["coef"], strict=True))
    moved = {feature: proposal.scale * weight for feature, weight in weights.items()}
    if same_shift:
        moved["same"] = moved.get("same", 0.0) + same_shift
    return {
        "features": list(moved),
        "coef": list(moved.values()),
        "intercept": proposal.scale * head["intercept"] + proposal.shift,
    }


def _scaled(offsets: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return language offsets, multiplied: every number in them is in logits."""
    return {
        name: _scaled(value, factor) if isinstance(value, Mapping) else factor * value
        for name, value in offsets.items()
    }
