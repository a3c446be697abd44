"""The last table of an evaluation: mAP of what was asked for, set by set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.report import systems_of, table

_SETTINGS = ("mono/map", "cross/map", "multi/map")


def sets_table(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the Markdown table of all sets, and the mean of those in one language.

    Args:
        sets: Set to its part of ``results.json``.
    """
    found = {name: _maps(part) for name, part in sets.items()}
    monolingual = [maps for maps in found.values() if maps[1] is None]
    rows = [[name, *map(_number, maps)] for name, maps in found.items()]
    if len(monolingual) > 1:
        mean = sum(maps[0] or 0.0 for maps in monolingual) / len(monolingual)
        rows.append([f"mean of the {len(monolingual)} in one language", _number(mean), "–", "–"])
    header = ["set", "monolingual", "cross-lingual", "multilingual"]
    return f"## mAP of all sets\n\n{table(header, rows)}"


def _maps(part: Mapping[str, Any]) -> Sequence[float | None]:
    summary = next(iter(systems_of(part).values()))["summary"]
    return [summary[key]["value"] if key in summary else None for key in _SETTINGS]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
