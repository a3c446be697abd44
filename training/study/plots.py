"""The pictures of a study's report: SVG, the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.study.analysis import Contrast

_SETTINGS = {"svg.hashsalt": "isoglot", "svg.fonttype": "none", "font.size": 9}
_PANEL = 3.3


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity against alpha.

    Attributes:
        legend: Name.
        points: alpha to its estimate.
    """

    legend: str
    points: Mapping[float, Contrast]


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram of a picture.

    Attributes:
        title: Above it.
        label: Of the vertical axis.
        curves: What it shows.
        target: A horizontal line at the value that would be right.
    """

    title: str
    label: str
    curves: Sequence[Curve]
    target: float | None = None


def draw_curves(panels: Sequence[Panel], path: Path) -> None:
    """Draw panels side by side: means over seeds, 95 % intervals, and each seed as a dot."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(_PANEL * len(panels), 3.2), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False)
        for axes, panel in zip(grid[0], panels, strict=True):
            if panel.target is not None:
                axes.axhline(panel.target, color="0.7", linewidth=1)
            for curve in panel.curves:
                _draw_curve(axes, curve)
            axes.set(title=panel.title, xlabel="alpha", ylabel=panel.label)
            axes.legend(frameon=False, fontsize="small")
        _save(figure, path)


def draw_reliability_grid(diagrams: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw reliability diagrams side by side.

    Args:
        diagrams: Title to legend to diagram (``stated``, ``observed``).
        path: Where to write it.
    """
    with mpl.rc_context(_SETTINGS):
        columns = max(1, (len(diagrams) + 1) // 2)
        figure = Figure(figsize=(_PANEL * columns, 6.2), layout="constrained")
        grid = figure.subplots(2, columns, squeeze=False)
        for axes in grid.flat[len(diagrams) :]:
            axes.set_axis_off()
        for axes, (title, methods) in zip(grid.flat, diagrams.items(), strict=False):
            top = max([0.05, *(max(d["stated"] + d["observed"]) for d in methods.values())])
            axes.plot([0, top], [0, top], color="0.7", linewidth=1)
            for legend, diagram in methods.items():
                axes.plot(diagram["stated"], diagram["observed"], marker="o", ms=3, label=legend)
            axes.set(title=title, xlabel="stated probability", ylabel="share of relevant hits")
            axes.legend(frameon=False, fontsize="small")
        _save(figure, path)


def _draw_curve(axes: Axes, curve: Curve) -> None:
    alphas = sorted(curve.points)
    values = [curve.points[alpha] for alpha in alphas]
    errors = [[v.value - v.low for v in values], [v.high - v.value for v in values]]
    drawn = axes.errorbar(
        alphas, [v.value for v in values], yerr=errors, marker="o", ms=3, capsize=2,
        label=curve.legend,
    )  # fmt: skip
    color = drawn.lines[0].get_color()
    for alpha, value in zip(alphas, values, strict=True):
        axes.plot([alpha] * len(value.seeds), value.seeds, ".", ms=3, alpha=0.5, color=color)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})
