"""Writes what a study has found: ``results.json``, ``report.md`` and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.errors import RunError
from training.report import table
from training.study.analysis import FinishedCell, Resampled, finished_cells
from training.study.cells import grid
from training.study.config import Study
from training.study.hypotheses import Cells, Judge, Verdict
from training.study.limits import LIMITS
from training.study.protocols import ARTICLE_SPLIT, TRANSFER
from training.study.sections import Sections
from training.study.shown import finite, shown, without_diagrams
from training.study.work import write_whole

HYPOTHESES = "docs/study/hypotheses.md"
_HEAD = """# Ratio study: {name}

What the share of monolingual batches (alpha) does to retrieval and to the calibration of its
scores. Hypotheses and tests, written before the first run: `{hypotheses}`.

{facts}
Brackets: 95 % intervals from a bootstrap over parallel questions ({replicates} replicates), mean
of the seeds, calibrators held fixed.
"""


def write_report(study: Study, config: Path, out: Path, target: Path) -> str:
    """Write the report of the finished cells of a study, and return the table of verdicts.

    Args:
        study: The study.
        config: Its TOML file, for the command in the report.
        out: Directory of the study.
        target: Directory of the report.

    Raises:
        RunError: No cell is finished.
    """
    cells = finished_cells(study, out)
    if not cells:
        raise RunError(f"No cell of {study.config.name!r} in {out} is finished: nothing to report.")
    facts = cells[0].document["evaluation"]
    placed = Cells(study.config, cells)
    resampled = Resampled(
        facts["languages"],
        study.config.evaluation.english,
        facts["questions"],
        study.config.replicates,
    )
    target.mkdir(parents=True, exist_ok=True)
    verdicts = Judge(placed, resampled).verdicts()
    sections = Sections(placed, resampled, facts["passages"], target)
    protocols = [p for p in (ARTICLE_SPLIT, TRANSFER) if p in cells[0].document["calibration"]]
    parts = [
        _head(study, config, cells, facts),
        "## Verdicts\n",
        verdict_table(verdicts),
        sections.retrieval(),
        *(sections.calibration(protocol) for protocol in protocols),
        sections.temperature(),
        sections.reliability(),
        LIMITS,
    ]
    (target / "report.md").write_text("\n".join(filter(None, parts)), encoding="utf-8")
    write_whole(target / "results.json", _results(study, cells, facts, verdicts))
    return verdict_table(verdicts)


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Return the Markdown table of verdicts, each with the differences it rests on."""
    rows = []
    for verdict in verdicts:
        numbers = []
        for name, found in verdict.contrasts.items():
            seeds = ", ".join(f"{seed:.4f}" for seed in found.seeds)
            pairs = f", {found.pairs} pairs" if found.pairs else ""
            numbers.append(f"{name} {shown(found, 4)}, seeds {seeds}{pairs}")
        detail = ". ".join(filter(None, ["; ".join(numbers), verdict.note]))
        rows.append([verdict.name, verdict.claim, f"**{verdict.outcome}**", detail])
    return table(["", "prediction", "verdict", "difference"], rows)


def _head(
    study: Study, config: Path, cells: Sequence[FinishedCell], facts: Mapping[str, Any]
) -> str:
    settings, documents = study.config, [cell.document for cell in cells]
    seconds = [sum(document["seconds"].values()) for document in documents]
    command = f"isoglot-train study --config {_shortened(config)} --data-root DATA --out OUT"
    first, second = facts["articles"]
    corpus = (
        f"{facts['name']}: {facts['queries']} queries, {facts['passages']} passages, "
        f"{len(facts['languages'])} languages, {first} and {second} articles in the halves"
    )
    rows = [
        ["command", f"`{command}`"],
        ["commit", ", ".join(sorted({str(document["commit"]) for document in documents}))],
        ["cells", f"{len(documents)} of {len(grid(study))}"],
        ["seeds", ", ".join(map(str, settings.seeds))],
        ["loss temperature", f"{settings.hybrid.loss_temperature:g}"],
        ["hybrid stage", f"{settings.hybrid.steps} steps of {settings.hybrid.batch_size} pairs"],
        ["pairs from", ", ".join(settings.pairs or ()) or "all sources of the base run"],
        ["evaluation", corpus],
        ["a cell took", f"{sum(seconds) / len(seconds):.0f} s on average"],
    ]
    return _HEAD.format(
        name=settings.name,
        hypotheses=HYPOTHESES,
        facts=table(["", ""], rows),
        replicates=settings.replicates,
    )


def _shortened(config: Path) -> str:
    """Return the path of a configuration as the repository has it, or its name."""
    parts = config.resolve().parts[-3:]
    return "/".join(parts) if parts[:2] == ("training", "configs") else parts[-1]


def _results(
    study: Study,
    cells: Sequence[FinishedCell],
    facts: Mapping[str, Any],
    verdicts: Sequence[Verdict],
) -> dict[str, Any]:
    return {
        "study": study.config.model_dump(mode="json", by_alias=True),
        "evaluation": dict(facts),
        "verdicts": [
            {
                "name": verdict.name,
                "claim": verdict.claim,
                "outcome": verdict.outcome,
                "contrasts": {
                    name: finite(found.to_json()) for name, found in verdict.contrasts.items()
                },
                "note": verdict.note,
            }
            for verdict in verdicts
        ],
        "cells": [finite(without_diagrams(cell.document)) for cell in cells],
    }
