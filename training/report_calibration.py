"""Tables and pictures of what calibration does: growth, pairs, languages, refusal.

Reads the JSON objects that evaluation wrote; computes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.report import estimate_text, number_text, table

RIGHT = (0.85, 1.15)
"""Expected / observed that is aimed at; shaded in pictures."""

_SIZE = (4.6, 3.6)
_Drawer: TypeAlias = Callable[[Axes], None]


def growth_table(growth: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the Markdown table of ``training.evaluate_calibration.growth``."""
    rows = []
    for size, methods in growth.items():
        for method, found in methods.items():
            cells = []
            for relation in ("same", "cross"):
                group = found.get(relation)
                cells += [
                    estimate_text(group["expected_observed"] if group else None),
                    number_text(group["ece"]["value"] if group else None),
                    number_text(group["nll"]["value"] if group else None),
                ]
            cells.append(_first_hit(found.get("rank 1")))
            ratios = [ratio for ratio in found["languages"].values() if ratio is not None]
            cells.append(f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "–")
            rows.append([size, method, *cells])
    header = ["passages", "method"]
    for relation in ("same", "cross"):
        header += [f"{relation}: E/O", "ECE", "NLL"]
    return table([*header, "first hit: stated / found", "languages: E/O"], rows)


def pair_table(pairs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the Markdown table of ``measure_pairs``: expected / observed, queries in rows."""
    asked = sorted({pair.partition(">")[0] for pair in pairs})
    spoken = sorted({pair.partition(">")[2] for pair in pairs})
    rows = [
        [
            code,
            *(
                number_text(pairs.get(f"{code}>{other}", _NOTHING)["expected_observed"]["value"], 2)
                for other in spoken
            ),
        ]
        for code in asked
    ]
    return table(["query language", *spoken], rows)


def _first_hit(measured: Mapping[str, Any] | None) -> str:
    if measured is None or measured["expected_observed"]["value"] is None:
        return "–"
    found = measured["base_rate"]["value"]
    return f"{measured['expected_observed']['value'] * found:.3f} / {found:.3f}"


_NOTHING: Mapping[str, Any] = {"expected_observed": {"value": None}}


def draw_growth(growth: Mapping[str, Mapping[str, Any]], title: str, path: Path) -> None:
    """Draw expected / observed of every method against the size of the corpus, cross-language."""

    def draw(axes: Axes) -> None:
        axes.axhspan(*RIGHT, color="0.92", label="aim")
        for method in (m for m in next(iter(growth.values())) if m != "base rate"):
            found = {int(size): row[method].get("cross") for size, row in growth.items()}
            ratios = {n: group["expected_observed"]["value"] for n, group in found.items() if group}
            axes.plot([*ratios], [*ratios.values()], marker="o", ms=3, label=method)
        axes.set(xscale="log", yscale="log", xlabel="passages", ylabel="expected / observed")

    _draw(draw, title, path)


def draw_languages(groups: Mapping[str, Any], method: str, title: str, path: Path) -> None:
    """Draw a reliability diagram with one line a group.

    Args:
        groups: Legend to measures by method.
        method: Whose.
        title: Of the picture.
        path: Where to write it.
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="right")
        for legend, measured in groups.items():
            diagram = measured[method]["diagram"]
            axes.plot(diagram["stated"], diagram["observed"], marker="o", ms=2, label=legend)
        axes.set(xlabel="stated probability", ylabel="share of relevant hits")

    _draw(draw, title, path)


def draw_refusal(answerable: Mapping[str, Any], title: str, path: Path) -> None:
    """Draw what a threshold on the answerable probability refuses, and the risk that it leaves."""

    def draw(axes: Axes) -> None:
        curve, risk = answerable["curve"], answerable["risk_coverage"]
        axes.plot(curve["answered_refused"], curve["unanswered_refused"], label="refused")
        axes.plot(risk["coverage"], risk["risk"], label="wrong among those answered")
        axes.set(
            xlabel="share of answerable questions refused, or of all questions answered",
            ylabel="share of unanswerable ones refused, or of wrong ones",
        )

    _draw(draw, title, path)


def _draw(draw: _Drawer, title: str, path: Path) -> None:
    with mpl.rc_context({"svg.hashsalt": "isoglot", "svg.fonttype": "none"}):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.set_title(title, fontsize="medium")
        axes.legend(frameon=False, fontsize="x-small", ncols=2)
        figure.savefig(path, format="svg", metadata={"Date": None})
