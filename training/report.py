"""From results to what people read: Markdown tables, reliability diagrams, the model card.

Reads the JSON objects that evaluation and calibration wrote; computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

_SETTINGS = (
    ("monolingual", "mono/map"),
    ("cross-lingual", "cross/map"),
    ("multilingual", "multi/map"),
)
_DETAILS = (
    "mono/recall@1",
    "mono/recall@10",
    "mono/ndcg@10",
    "cross/recall@1",
    "cross/recall@10",
    "multi/recall@1",
    "multi/recall@10",
    "multi/ndcg@10",
    "bias/rank_distance",
    "bias/rank_distance_share",
    "bias/lpr@1",
    "bias/same_language_first_hit",
)
_MEASURES = ("base_rate", "expected_observed", "nll", "brier", "ece", "l2_debiased")
_POINTS = ("slope", "intercept", "auroc")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    lines.insert(1, "|" + " --- |" * len(header))
    return "\n".join(lines) + "\n"


def retrieval_tables(name: str, result: Mapping[str, Any]) -> str:
    """Return the Markdown tables of one retrieval set in ``results.json``."""
    encoder, bm25 = result["encoder"], result["bm25"]
    summary = encoder["summary"]
    heading = (
        f"## {name}\n\n{result['queries']} queries, {result['passages']} passages, "
        f"{len(result['languages'])} languages. 95 % intervals: bootstrap over questions with all "
        "their translations.\n"
    )
    parts = [
        heading,
        table(
            ["mAP", "encoder", "BM25"],
            [
                [label, _estimate(summary.get(key)), _estimate(bm25["summary"].get(key))]
                for label, key in _SETTINGS
            ],
        ),
        table(
            ["metric", "value"],
            [[key, _estimate(summary[key])] for key in _DETAILS if key in summary],
        ),
        _language_table(encoder["by_language"], bm25["by_language"]),
    ]
    if worst := encoder["worst_pair"]:
        parts.append(f"Worst pair: {worst['pair']} with mAP {worst['cross/map']:.3f}.\n")
    return "\n".join(parts)


def calibration_table(groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return a Markdown table of calibration measures.

    Args:
        groups: Group of hits (``same``, ``cross/rank1``, ...) to method to measures.
    """
    rows = []
    for group, methods in groups.items():
        for method, measured in methods.items():
            cells = [_estimate(measured[key]) for key in _MEASURES]
            points = [_number(measured[key]) for key in _POINTS]
            rows.append([group, method, str(measured["hits"]), *cells, *points])
    return table(["hits", "method", "n", *_MEASURES, *_POINTS], rows)


def overall(groups: Mapping[str, Any]) -> dict[str, Any]:
    """Return the groups that are not of one query language."""
    return {
        name: measured
        for name, measured in groups.items()
        if "/" not in name or name.endswith("/rank 1")
    }


def ratio_table(groups: Mapping[str, Any], method: str) -> str:
    """Return a Markdown table of expected / observed by query language."""
    languages = sorted({name.partition("/")[2] for name in groups.keys() - overall(groups).keys()})
    rows = []
    for code in languages:
        found = [groups.get(f"{relation}/{code}") for relation in ("same", "cross")]
        ratios = [_estimate(g[method]["expected_observed"] if g else None) for g in found]
        rows.append([code, *ratios])
    return table(["query language", "same language", "another language"], rows)


def calibration_page(content: Mapping[str, Any]) -> str:
    """Return the Markdown page of what ``calibrate`` measured."""
    transfer = [
        [source, _number(ratios.get("same")), _number(ratios.get("cross"))]
        for source, ratios in content["leave_one_source_out"].items()
    ]
    heads = [
        [name, _weights(head["coef"]), f"{head['intercept']:.3f}", f"{head['ridge']:g}"]
        for name, head in content["heads"].items()
    ]
    return "\n".join(
        [
            f"# Calibrator {content['calibrator']}\n",
            table(["head", "weights", "intercept", "ridge"], heads),
            "## Documents that no calibrator was fitted on\n",
            calibration_table(content["held_out_documents"]),
            "## Each source left out in turn: expected / observed relevant hits, whole pool\n",
            table(["source", "same language", "another language"], transfer),
        ]
    )


def draw_reliability(diagrams: Mapping[str, Mapping[str, Any]], title: str, path: Path) -> None:
    """Draw reliability diagrams as an SVG file, the same bytes for the same input.

    Args:
        diagrams: Legend to diagram (``stated``, ``observed``, ``hits``).
        title: Title of the picture.
        path: Where to write it.
    """
    with mpl.rc_context({"svg.hashsalt": "isoglot", "svg.fonttype": "none"}):
        figure = Figure(figsize=(4.6, 4.4), layout="constrained")
        axes = figure.subplots()
        top = max([0.05, *(max(d["stated"] + d["observed"]) for d in diagrams.values())])
        axes.plot([0, top], [0, top], color="0.7", linewidth=1, label="right")
        for legend, diagram in diagrams.items():
            axes.plot(diagram["stated"], diagram["observed"], marker="o", ms=3, label=legend)
        axes.set(xlabel="stated probability", ylabel="share of relevant hits", title=title)
        axes.legend(frameon=False, fontsize="small")
        figure.savefig(path, format="svg", metadata={"Date": None})


def _language_table(
    encoder: Mapping[str, Mapping[str, float | None]], bm25: Mapping[str, Mapping[str, float]]
) -> str:
    keys = [key for _, key in _SETTINGS]
    rows = []
    for code, row in encoder.items():
        cells = [_number(row.get(key)) for key in keys]
        distance = _number(row.get("bias/rank_distance"), 0)
        rows.append([code, *cells, distance, _number(bm25.get(code, {}).get("mono/map"))])
    labels = [label for label, _ in _SETTINGS]
    return table(["query language", *labels, "rank distance", "BM25 monolingual"], rows)


def _weights(coef: Mapping[str, float]) -> str:
    return ", ".join(f"{feature} {weight:.3f}" for feature, weight in coef.items())


def _estimate(value: Mapping[str, Any] | None) -> str:
    if value is None or value["value"] is None:
        return "–"
    digits = 0 if abs(value["value"]) >= 100 else 3
    low, high = _number(value["low"], digits), _number(value["high"], digits)
    return f"{_number(value['value'], digits)} [{low}, {high}]"


def _number(value: float | None, digits: int = 3) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.{digits}f}"
