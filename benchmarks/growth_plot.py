"""The figure of ``benchmarks.growth``: time against passages on logarithmic axes, as SVG.

python -m benchmarks.growth_plot growth.json docs/growth.svg
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from math import log10
from pathlib import Path
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 300, 64, 150, 34, 44
_SERIES = {
    "p50_ms": ("a search over HTTP", "#2b5fd9"),
    "engine_ms": ("of it the engine", "#9a6700"),
}
_TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100)


def plot(found: Mapping[str, Any]) -> str:
    """Return the figure of what ``benchmarks.growth`` wrote, with the square root beside it."""
    times = {name: {int(n): row for n, row in found[name].items()} for name in _SERIES}
    sizes = sorted(next(iter(times.values())))
    values = [
        row[end] for rows in times.values() for row in rows.values() for end in ("min", "max")
    ]
    root = {n: times["p50_ms"][sizes[0]]["median"] * (n / sizes[0]) ** 0.5 for n in sizes}
    low, high = min(values) / 1.3, max(*values, *root.values()) * 1.2

    def x(size: float) -> float:
        share = log10(size / sizes[0]) / log10(sizes[-1] / sizes[0])
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(time: float) -> float:
        share = log10(time / low) / log10(high / low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def text(across: float, down: float, anchor: str, colour: str, said: str) -> str:
        place = f'x="{across:.1f}" y="{down:.1f}" text-anchor="{anchor}" fill="{colour}"'
        return f"<text {place}>{said}</text>"

    def line(points: Mapping[int, float], style: str, name: str, colour: str) -> list[str]:
        path = " ".join(f"{x(n):.1f},{y(points[n]):.1f}" for n in sizes)
        last = x(sizes[-1]) + 8, y(points[sizes[-1]]) + 4
        return [
            f'<polyline points="{path}" fill="none" stroke="{colour}" {style}/>',
            text(*last, "start", colour, name),
        ]

    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="system-ui, sans-serif" font-size="12">'
    )
    title = text(_LEFT, 18, "start", "#000000", "milliseconds (p50) against passages")
    parts = [head, '<rect width="100%" height="100%" fill="#ffffff"/>', title]
    for tick in (tick for tick in _TICKS if low <= tick <= high):
        parts.append(f'<path d="M{_LEFT} {y(tick):.1f}H{_WIDTH - _RIGHT}" stroke="#dde1e8"/>')
        parts.append(text(_LEFT - 8, y(tick) + 4, "end", "#5a6475", f"{tick:g}"))
    parts += [text(x(n), _HEIGHT - 20, "middle", "#5a6475", f"{n:,}") for n in sizes]
    parts += line(root, 'stroke-dasharray="4 4"', "the square root", "#5a6475")
    for name, (label, colour) in _SERIES.items():
        medians = {n: row["median"] for n, row in times[name].items()}
        parts += line(medians, 'stroke-width="2"', label, colour)
        for n, row in times[name].items():
            parts.append(
                f'<path d="M{x(n):.1f} {y(row["min"]):.1f}V{y(row["max"]):.1f}" '
                f'stroke="{colour}" stroke-width="2"/>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("found", type=Path, help="what benchmarks.growth wrote")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    given.out.write_text(plot(json.loads(given.found.read_text("utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
