"""The part of ``evaluate`` on probabilities: what is measured, its tables and diagrams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.core.calibration.calibrator import Calibrator
from training.calibration_run import read_references
from training.evaluate import EmbeddedSet
from training.evaluate_answerable import measure_answerable
from training.evaluate_calibration import (
    OURS,
    growth,
    measure_first_hit,
    measure_groups,
    measure_pairs,
    ours,
    serve_growing,
)
from training.report import calibration_table, draw_reliability, overall, ratio_table
from training.report_calibration import (
    draw_growth,
    draw_languages,
    draw_refusal,
    growth_table,
    pair_table,
)
from training.words import WordIndex

GROWTH_SIZES = (250, 1000, 4000)
GROWTH_QUERIES = 2500
_RELATIONS = ("same", "cross")


def measure_calibration(
    embedded: EmbeddedSet, calibrator: Calibrator, directory: Path
) -> dict[str, Any]:
    """Return what holds of a calibrator's statements on a set, as ``results.json`` keeps it.

    Args:
        embedded: The set.
        calibrator: Whose statements are measured.
        directory: Where it was fitted; other methods fitted beside it are compared.
    """
    tables = serve_growing(embedded, GROWTH_SIZES, queries=GROWTH_QUERIES)
    hits = tables[len(embedded.data.passages)]
    methods = {OURS: ours(calibrator), **read_references(directory)}
    return {
        "calibrator": calibrator.id,
        "groups": measure_groups(hits, methods, languages=True),
        "pairs": measure_pairs(hits, methods[OURS](hits)),
        "growth": growth(tables, methods),
        "answerable": measure_first_hit(hits, calibrator),
        "refusal": measure_answerable(embedded, hits, calibrator),
    }


def measure_hybrid(embedded: EmbeddedSet, calibrator: Calibrator) -> dict[str, Any]:
    """Return what holds of the statements on hybrid lists of a set.

    Args:
        embedded: The set.
        calibrator: That of hybrid retrieval.
    """
    words = WordIndex.of(embedded.data)
    tables = serve_growing(embedded, GROWTH_SIZES, queries=GROWTH_QUERIES, words=words)
    hits, methods = tables[len(embedded.data.passages)], {OURS: ours(calibrator)}
    return {
        "calibrator": calibrator.id,
        "groups": measure_groups(hits, methods, languages=True),
        "growth": growth(tables, methods),
        "answerable": measure_first_hit(hits, calibrator),
    }


def hybrid_part(result: dict[str, Any]) -> str:
    """Return what ``measure_hybrid`` found, as part of a page of tables."""
    answerable = {"first hit": {"answerable": result["answerable"]}}
    parts = [
        f"### Calibration of hybrid retrieval, calibrator {result['calibrator']}\n",
        "Of the first 20 hits by vector, and the first 20 by words:\n",
        calibration_table({**overall(result["groups"]), **answerable}),
        "A growing corpus:\n",
        growth_table(result["growth"]),
    ]
    return "\n".join(parts)


def calibration_part(result: dict[str, Any]) -> str:
    """Return what ``measure_calibration`` found, as part of a page of tables."""
    answerable = {"first hit": {"answerable": result["answerable"]}}
    parts = [
        f"### Calibration of the first 20 hits, calibrator {result['calibrator']}\n",
        calibration_table({**overall(result["groups"]), **answerable}),
        "Expected / observed relevant hits:\n",
        ratio_table(result["groups"], OURS),
        "Expected / observed by language pair:\n",
        pair_table(result["pairs"]),
        "A growing corpus:\n",
        growth_table(result["growth"]),
        f"AUROC, questions with against without answers: {result['refusal']['auroc']:.3f}\n",
    ]
    return "\n".join(parts)


def draw_calibration(name: str, result: dict[str, Any], out: Path) -> None:
    """Draw what ``measure_calibration`` found on a set.

    Args:
        name: Of the set.
        result: What was found.
        out: Directory for the diagrams.
    """
    groups = result["groups"]
    draw_growth(result["growth"], f"{name}: hits in another language", out / f"growth-{name}.svg")
    draw_refusal(result["refusal"], f"{name}: refusal", out / f"refusal-{name}.svg")
    for relation in _RELATIONS:
        if relation in groups:
            diagrams = {
                method: measured["diagram"]
                for method, measured in groups[relation].items()
                if len(measured["diagram"]["hits"]) > 1
            }
            path = out / f"reliability-{name}-{relation}.svg"
            draw_reliability(diagrams, f"{name}: {relation}-language hits", path)
            languages = {
                group.partition("/")[2]: measured
                for group, measured in groups.items()
                if group.startswith(f"{relation}/") and not group.endswith("/rank 1")
            }
            draw_languages(
                languages,
                OURS,
                f"{name}: {relation}-language hits by query language",
                out / f"reliability-{name}-{relation}-languages.svg",
            )
