"""Numbers as a study's report shows them, and how it reads points from the results of cells."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from training.study.analysis import Contrast, FinishedCell


def shown(value: Contrast, digits: int = 3) -> str:
    """Return a number with its interval."""
    if not math.isfinite(value.value):
        return "–"
    digits = 0 if abs(value.value) >= 100 else digits
    return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def number(value: float, digits: int = 3) -> str:
    """Return a number without interval."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def exponential(value: Contrast) -> Contrast:
    """Turn an estimate of a logarithm into one of what it is the logarithm of."""
    seeds = tuple(math.exp(seed) for seed in value.seeds)
    return Contrast(math.exp(value.value), math.exp(value.low), math.exp(value.high), seeds)


def mean_of(cells: Sequence[FinishedCell], read: Callable[[FinishedCell], float | None]) -> float:
    """Return the mean over cells of what is read, without cells that have no such number."""
    values = [value for cell in cells if (value := read(cell)) is not None]
    return sum(values) / len(values) if values else math.nan


def group_of(cell: FinishedCell, protocol: str, group: str) -> Mapping[str, Any]:
    """Return what a cell has measured on a group of hits."""
    found: Mapping[str, Any] = cell.document["calibration"][protocol][group]
    return found


def point(cell: FinishedCell, protocol: str, group: str, method: str, key: str) -> float | None:
    """Return one measure of one calibrator on a group of hits; ``None`` if there is none."""
    value = group_of(cell, protocol, group)["methods"].get(method, {}).get(key)
    return None if value is None else float(value)


def base_rate(cell: FinishedCell, protocol: str, group: str) -> float:
    """Return the share of relevant hits in a group."""
    found = group_of(cell, protocol, group)
    return float(found["relevant"] / max(1, found["hits"]))


def without_diagrams(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell's results without what the pictures show and without long parameters."""
    kept = {k: v for k, v in document.items() if k not in {"parameters", "evaluation"}}
    kept["calibration"] = {
        protocol: {group: _measures_only(found) for group, found in groups.items()}
        for protocol, groups in document["calibration"].items()
    }
    return kept


def _measures_only(found: Mapping[str, Any]) -> dict[str, Any]:
    methods = {
        name: {k: v for k, v in measured.items() if k != "diagram"}
        for name, measured in found["methods"].items()
    }
    return {**found, "methods": methods}


def finite(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Round numbers to six digits, and turn what is not a number into null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return json.loads(f"{value:.6g}") if math.isfinite(value) else None
    return value
