"""Compares the cells that two studies have in common: what does a change of their base do?

    python benchmarks/study_difference.py --a mixed.toml --out-a OUT --b all.toml --out-b OUT-ALL

Prints B minus A on the studies' evaluation set for every cell but its seed, mean of the seeds that
both have, with 95 % intervals from a bootstrap over parallel questions, the same ones in both.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from training.report import table
from training.study.analysis import FinishedCell, Resampled, contrast, estimate, finished_cells
from training.study.cells import Cell
from training.study.config import load_study
from training.study.shown import shown

METRICS = {"mono/map": 3, "cross/map": 3, "multi/map": 3, "rank_distance": 0}

Pair = tuple[FinishedCell, FinishedCell]


def common(a: list[FinishedCell], b: list[FinishedCell]) -> dict[Cell, list[Pair]]:
    """Return the cells that both studies have finished, by everything but the seed."""
    known = {found.cell: found for found in b}
    pairs: dict[Cell, list[Pair]] = defaultdict(list)
    for found in a:
        if found.cell in known:
            pairs[replace(found.cell, seed=0)].append((found, known[found.cell]))
    return pairs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for side in "ab":
        parser.add_argument(f"--{side}", type=Path, required=True, help="TOML file of a study")
        parser.add_argument(f"--out-{side}", type=Path, required=True, help="its directory")
    options = parser.parse_args()
    studies = load_study(options.a), load_study(options.b)
    found = common(
        finished_cells(studies[0], options.out_a), finished_cells(studies[1], options.out_b)
    )
    if not found:
        raise SystemExit("The two studies have no finished cell in common.")
    facts = next(iter(found.values()))[0][0].document["evaluation"]
    config = studies[0].config
    resampled = Resampled(
        facts["languages"], config.evaluation.english, facts["questions"], config.replicates
    )
    rows = []
    for cell, pairs in found.items():
        seeds = ", ".join(str(a.cell.seed) for a, _ in pairs)
        name = f"{cell.batches}, temperature {cell.loss_temperature:g}, alpha {cell.alpha:g}"
        for metric, digits in METRICS.items():
            measure = resampled.retrieval(metric)
            sides = [estimate([pair[side] for pair in pairs], measure) for side in (0, 1)]
            change = contrast([(b, a) for a, b in pairs], measure)
            numbers = [shown(value, digits) for value in (*sides, change)]
            rows.append([name, seeds, metric, *numbers])
    print(table(["cells", "seeds", "metric", "A", "B", "B - A"], rows))


if __name__ == "__main__":
    main()
