"""From results to what people read: Markdown tables, reliability diagrams, the model card.

Reads the JSON objects that evaluation and calibration wrote; computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from app.core.calibration.feature_words import feature_in_words

_SETTINGS = (
    ("monolingual", "mono/map"),
    ("cross-lingual", "cross/map"),
    ("multilingual", "multi/map"),
)
_DETAILS = (
    "mono/mrr",
    "mono/recall@1",
    "mono/recall@10",
    "mono/recall@100",
    "mono/ndcg@10",
    "cross/mrr",
    "cross/recall@1",
    "cross/recall@10",
    "cross/recall@100",
    "cross/ndcg@10",
    "multi/mrr",
    "multi/recall@1",
    "multi/recall@10",
    "multi/recall@100",
    "multi/ndcg@10",
    "bias/rank_distance",
    "bias/rank_distance_share",
    "bias/lpr@1",
    "bias/same_language_first_hit",
    "bias/peer@20",
    "bias/peer@100",
)
_MACRO = ("mono/ndcg@10", "mono/recall@100")
_MEASURED = ("encoder", "run")
BY_PROBABILITY = "by probability"
"""A system: what the encoder finds, in the order of a calibrator's probabilities."""
_MEASURES = (
    "base_rate",
    "expected_observed",
    "nll",
    "brier",
    "ece",
    "l2_debiased",
    "slope",
    "intercept",
    "auroc",
    "aurc",
)
_WHOLE = 100
"""From here on decimals say nothing: ranks, not shares."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    lines.insert(1, "|" + " --- |" * len(header))
    return "\n".join(lines) + "\n"


def systems_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the systems measured on one set in ``results.json``, what was asked for first."""
    measured = {name: result[name] for name in _MEASURED if name in result}
    return {**measured, **result.get("baselines", {})}


def retrieval_tables(name: str, result: Mapping[str, Any]) -> str:
    """Return the Markdown tables of one retrieval set in ``results.json``."""
    systems = systems_of(result)
    main = next(iter(systems.values()))
    parts = [
        f"## {name}\n\n{_pool(result['pool'])}",
        _system_table("mAP", _SETTINGS, systems),
        _system_table("metric", [(key, key) for key in _DETAILS], systems),
        _language_table(systems),
    ]
    if worst := main["worst_pair"]:
        parts.append(f"Worst pair: {worst['pair']} with mAP {worst['cross/map']:.3f}.\n")
    parts += [f"{system}: {note}\n" for system, found in systems.items() for note in found["notes"]]
    return "\n".join(parts)


def macro_averages(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the means over all languages of all sets, as MIRACL reports them.

    Every language of every set weighs the same. Languages that a system has no value for are left
    out, and counted.

    Args:
        sets: Set to its part of ``results.json``.

    Returns:
        System to metric (monolingual nDCG@10 and recall@100) to ``value`` and ``languages``, the
        number of values it is the mean of.
    """
    values: dict[str, dict[str, list[float]]] = {}
    for result in sets.values():
        for system, found in systems_of(result).items():
            if system == BY_PROBABILITY:  # in one language that is the encoder's order
                continue
            for key in _MACRO:
                rows = [row.get(key) for row in found["by_language"].values()]
                kept = values.setdefault(system, {}).setdefault(key, [])
                kept += [value for value in rows if value is not None]
    return {
        system: {
            key: {"value": sum(kept) / len(kept), "languages": len(kept)}
            for key, kept in metrics.items()
            if kept
        }
        for system, metrics in values.items()
    }


def macro_table(macro: Mapping[str, Any]) -> str:
    """Return the Markdown table of ``macro_averages``."""
    rows = []
    for system, metrics in macro.items():
        found = [metrics.get(key) for key in _MACRO]
        languages = max((cell["languages"] for cell in found if cell), default=0)
        cells = [number_text(cell["value"] if cell else None) for cell in found]
        rows.append([system, *cells, str(languages)])
    heading = "## Mean over all languages of all sets, each in its own language\n\n"
    return heading + table(["system", "nDCG@10", "R@100", "languages"], rows)


def comparison_tables(found: Mapping[str, Any]) -> str:
    """Return the Markdown tables of what ``compare`` found."""
    sides = [f"{found[side]['system']} in {found[side]['directory']}" for side in ("a", "b")]
    parts = [
        f"A: {sides[0]}. B: {sides[1]}. p after Holm's correction over the metrics of a set.\n"
    ]
    for name, metrics in found["sets"].items():
        rows = [
            [
                metric,
                _digits(row["a"]),
                _digits(row["b"]),
                estimate_text(row["difference"]),
                f"{row['p']:.4f}",
                f"{row['p_holm']:.4f}",
                str(row["questions"]),
            ]
            for metric, row in metrics.items()
        ]
        header = ["metric", "A", "B", "B - A", "p", "p (Holm)", "questions"]
        parts.append(f"## {name}\n\n{table(header, rows)}")
    return "\n".join(parts)


def calibration_table(groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return a Markdown table of calibration measures.

    Args:
        groups: Group of hits (``same``, ``cross/rank1``, ...) to method to measures.
    """
    rows = []
    for group, methods in groups.items():
        for method, measured in methods.items():
            cells = [estimate_text(measured[key]) for key in _MEASURES]
            rows.append([group, method, str(measured["hits"]), *cells])
    return table(["hits", "method", "n", *_MEASURES], rows)


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
        ratios = [estimate_text(g[method]["expected_observed"] if g else None) for g in found]
        rows.append([code, *ratios])
    return table(["query language", "same language", "another language"], rows)


def calibration_page(content: Mapping[str, Any]) -> str:
    """Return the Markdown page of what ``calibrate`` measured."""
    transfer = [
        [source, number_text(ratios.get("same")), number_text(ratios.get("cross"))]
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
            *_pieces(content.get("score_pieces")),
            "## Documents that no calibrator was fitted on\n",
            calibration_table(content["held_out_documents"]),
            "## Each source left out in turn: expected / observed relevant hits, whole pool\n",
            table(["source", "same language", "another language"], transfer),
        ]
    )


def _pieces(pieces: Mapping[str, Any] | None) -> list[str]:
    """Return what the heads read the score through, nothing where that is a straight line."""
    if pieces is None:
        return []
    ends = [f"{knot:.3f}" for knot in pieces["knots"]]
    rows = zip(["–", *ends], [*ends, "–"], map(number_text, pieces["slopes"]), strict=True)
    return [
        f"## The score is read through a line in pieces (ridge {pieces['ridge']:g})\n",
        table(["from", "to", "slope"], [[*row] for row in rows]),
    ]


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


def _pool(pool: Mapping[str, Any]) -> str:
    """Say in words what was searched, and what the figures are means of."""
    relevant = pool["relevant"]
    passages = ", ".join(f"{code} {n}" for code, n in pool["passages_by_language"].items())
    lines = [
        (
            f"{pool['queries']} queries in {len(pool['languages'])} languages. Pool: all "
            f"{pool['passages']} passages ({passages}); monolingual and cross-lingual, "
            f"those of one language. {relevant['judgements']} relevant passages, "
            f"{relevant['fewest']} to {relevant['most']} a query (mean {relevant['mean']:.1f}); "
            "all others count as not relevant."
        )
    ]
    if pool["queries_without_answer"]:
        lines.append(f"{pool['queries_without_answer']} queries have none and are left out.")
    lines.append("95 % intervals: bootstrap over questions with all their translations.\n")
    return " ".join(lines)


def _system_table(
    label: str, metrics: Sequence[tuple[str, str]], systems: Mapping[str, Mapping[str, Any]]
) -> str:
    summaries = [found["summary"] for found in systems.values()]
    rows = [
        [name, *(estimate_text(summary.get(key)) for summary in summaries)]
        for name, key in metrics
        if any(key in summary for summary in summaries)
    ]
    return table([label, *systems], rows)


def _language_table(systems: Mapping[str, Mapping[str, Any]]) -> str:
    keys = [key for _, key in _SETTINGS]
    (_, main), *others = ((n, found) for n, found in systems.items() if n != BY_PROBABILITY)
    rows = []
    for code, row in main["by_language"].items():
        cells = [number_text(row.get(key)) for key in keys]
        distance = number_text(row.get("bias/rank_distance"), 0)
        mono = [number_text(found["by_language"].get(code, {}).get(keys[0])) for _, found in others]
        rows.append([code, *cells, distance, *mono])
    labels = [label for label, _ in _SETTINGS]
    baselines = [f"{name} monolingual" for name, _ in others]
    return table(["query language", *labels, "rank distance", *baselines], rows)


def _weights(coef: Mapping[str, float]) -> str:
    return ", ".join(
        f"{feature_in_words(feature)} {weight:.3f}" for feature, weight in coef.items()
    )


def estimate_text(value: Mapping[str, Any] | None) -> str:
    """Return a number with its interval, a dash where there is none."""
    if value is None or value["value"] is None:
        return "–"
    digits = 0 if abs(value["value"]) >= _WHOLE else 3
    low, high = number_text(value["low"], digits), number_text(value["high"], digits)
    return f"{number_text(value['value'], digits)} [{low}, {high}]"


def _digits(value: float) -> str:
    return number_text(value, 0 if abs(value) >= _WHOLE else 3)


def number_text(value: float | None, digits: int = 3) -> str:
    """Return a number, a dash where there is none."""
    if value is None or value != value:
        return "–"
    return f"{value:.{digits}f}"
