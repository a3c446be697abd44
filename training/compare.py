"""The command ``compare``: is one system better than another, on the same queries?

For every set and metric: the difference of the macro means (B minus A), its 95 % cluster
bootstrap interval, the p-value of a paired randomisation test, and that p-value adjusted by Holm's
method for all metrics tested on the set. What is resampled and exchanged is the question with all
its translations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.errors import DataError
from training.metrics.bootstrap import REPLICATES, macro_mean
from training.metrics.significance import PERMUTATIONS, holm, paired_randomisation
from training.per_query import MetricValues, per_query_path, read_per_query
from training.report import comparison_tables

RESULTS_FILE = "results.json"
METRICS = (
    "mono/map",
    "mono/ndcg@10",
    "mono/recall@100",
    "cross/map",
    "cross/recall@10",
    "multi/map",
    "multi/recall@10",
    "bias/rank_distance",
    "bias/lpr@1",
)
"""Compared where both have them. Each further metric makes Holm's correction stricter."""


@dataclass(frozen=True, slots=True)
class Side:
    """One system in a directory of results.

    Attributes:
        directory: What ``evaluate`` wrote.
        system: ``encoder``, ``run`` or the name of a baseline.
    """

    directory: Path
    system: str = "encoder"


def compare_results(
    first: Side, second: Side, *, metrics: Sequence[str] = METRICS, seed: int = 0
) -> dict[str, Any]:
    """Compare two systems on the sets that both were measured on.

    Args:
        first: System A.
        second: System B.
        metrics: What to compare; what a side does not have is left out.
        seed: Seed of resampling and exchanges.

    Returns:
        ``a``, ``b``, ``settings``, and ``sets``: set to metric to ``a``, ``b``, ``difference``
        (``value``, ``low``, ``high``), ``p``, ``p_holm``, ``observations``, ``questions``; ready
        for JSON.

    Raises:
        DataError: The results hold different sets, or a set of the same name with other content;
            a file is missing or unreadable; no metric is on both sides.
    """
    measured = [_read_sets(side.directory) for side in (first, second)]
    if measured[0].keys() != measured[1].keys():
        sets = [", ".join(sorted(sets)) or "none" for sets in measured]
        problem = f"measured {sets[1]}, but {first.directory} {sets[0]}: compare the same sets"
        raise DataError(second.directory, None, problem)
    for name in measured[0]:
        _check_same(name, measured[0][name], measured[1][name], second.directory)
    return {
        "a": {"directory": first.directory.name, "system": first.system},
        "b": {"directory": second.directory.name, "system": second.system},
        "settings": {
            "difference": "b - a, macro mean over languages or language pairs",
            "bootstrap_replicates": REPLICATES,
            "permutations": PERMUTATIONS,
            "seed": seed,
            "unit": "question, all translations",
            "correction": "Holm, over the metrics of a set",
        },
        "sets": {
            name: _compare_set(name, first, second, metrics=metrics, seed=seed)
            for name in measured[0]
        },
    }


def run_comparison(first: Side, second: Side, out: Path | None, *, metrics: Sequence[str]) -> str:
    """Compare, write the JSON where asked, and return the Markdown tables."""
    found = compare_results(first, second, metrics=metrics)
    if out is not None:
        out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return comparison_tables(found)


def _compare_set(
    name: str, first: Side, second: Side, *, metrics: Sequence[str], seed: int
) -> dict[str, Any]:
    a = read_per_query(per_query_path(first.directory, name), first.system)
    b = read_per_query(per_query_path(second.directory, name), second.system)
    shared = [metric for metric in metrics if metric in a and metric in b]
    if not shared:
        problem = f"no metric of {', '.join(metrics)} was measured on both sides of {name!r}"
        raise DataError(second.directory, None, problem)
    rows = {metric: _compare(a[metric], b[metric], seed) for metric in shared}
    for row, adjusted in zip(rows.values(), holm([row["p"] for row in rows.values()]), strict=True):
        row["p_holm"] = adjusted
    return rows


def _compare(a: MetricValues, b: MetricValues, seed: int) -> dict[str, Any]:
    left, right = _aligned(a, b)
    groups, questions = a.groups[left], a.questions[left]
    _, clusters = np.unique(questions, return_inverse=True)
    difference = b.values[right] - a.values[left]
    means = [
        macro_mean(values, groups, clusters, replicates=1).value
        for values in (a.values[left], b.values[right])
    ]
    return {
        "a": means[0],
        "b": means[1],
        "difference": macro_mean(difference, groups, clusters, seed=seed).to_json(),
        "p": paired_randomisation(difference, groups, clusters, seed=seed),
        "observations": len(difference),
        "questions": int(clusters.max()) + 1,
    }


def _aligned(a: MetricValues, b: MetricValues) -> tuple[Any, Any]:
    """Return the positions of the observations that both sides have, in the same order."""
    first, second = (np.char.add(np.char.add(side.query_ids, "\t"), side.groups) for side in (a, b))
    _, left, right = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    return left, right


def _read_sets(directory: Path) -> Mapping[str, Any]:
    path = directory / RESULTS_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        sets = raw["sets"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"is not what `isoglot-train evaluate` wrote ({error!r})"
        raise DataError(path, None, problem) from error
    if not isinstance(sets, dict):
        raise DataError(path, None, "is not what `isoglot-train evaluate` wrote: no sets")
    return sets


def _check_same(name: str, a: Mapping[str, Any], b: Mapping[str, Any], directory: Path) -> None:
    prints = [side.get("pool", {}).get("fingerprint") for side in (a, b)]
    if None in prints or prints[0] != prints[1]:
        problem = (
            f"the set {name!r} is not the one of the other results: queries, passages or "
            "judgements differ, or were not recorded. Evaluate both on the same files"
        )
        raise DataError(directory, None, problem)
