"""Reliability diagrams as SVG, without a drawing library."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from app.core.calibration.evidence import ReliabilityBin

_SIZE = 320
_MARGIN = 44
_COLOURS = {"before": "#9a6700", "after": "#2b5fd9"}


def reliability_diagram(
    title: str, before: Sequence[ReliabilityBin], after: Sequence[ReliabilityBin]
) -> str:
    """Return a diagram of stated probability against share found relevant.

    Args:
        title: What the hits are.
        before: Bins of the calibrator to begin with.
        after: Bins of the new one.
    """
    full = _SIZE + 2 * _MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {full} {full + 24}" width="{full}" '
        f'height="{full + 24}" font-family="system-ui, sans-serif" font-size="12">'
    )
    diagonal = (
        f'<path d="M{_x(0):.1f} {_y(0):.1f}L{_x(1):.1f} {_y(1):.1f}" stroke="#7b8494" '
        'stroke-dasharray="4 4"/>'
    )
    middle = 'text-anchor="middle"'
    parts = [
        head,
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{_MARGIN}" y="24" font-size="14" font-weight="600">{escape(title)}</text>',
        *_grid(),
        diagonal,
        *_curve(before, "before"),
        *_curve(after, "after"),
        f'<text x="{_x(0.5):.1f}" y="{_y(0) + 34:.1f}" text-anchor="middle">stated, %</text>',
        f'<text transform="translate(14 {_y(0.5):.1f}) rotate(-90)" {middle}>found, %</text>',
        *_legend(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _grid() -> list[str]:
    parts = []
    for tick in range(0, 101, 25):
        x, y = _x(tick / 100), _y(tick / 100)
        lines = f"M{_x(0):.1f} {y:.1f}H{_x(1):.1f}M{x:.1f} {_y(0):.1f}V{_y(1):.1f}"
        below = f'x="{x:.1f}" y="{_y(0) + 16:.1f}" text-anchor="middle"'
        left = f'x="{_MARGIN - 8}" y="{y + 4:.1f}" text-anchor="end"'
        parts += [
            f'<path d="{lines}" stroke="#dde1e8"/>',
            f'<text {below} fill="#5a6475">{tick}</text>',
            f'<text {left} fill="#5a6475">{tick}</text>',
        ]
    return parts


def _x(share: float) -> float:
    return _MARGIN + share * _SIZE


def _y(share: float) -> float:
    return _MARGIN + (1.0 - share) * _SIZE


def _curve(bins: Sequence[ReliabilityBin], name: str) -> list[str]:
    if not bins:
        return []
    colour = _COLOURS[name]
    points = " ".join(f"{_x(b.stated):.1f},{_y(b.found.value):.1f}" for b in bins)
    parts = [f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>']
    for b in bins:
        x, y = _x(b.stated), _y(b.found.value)
        if b.found.low is not None and b.found.high is not None:
            parts.append(
                f'<path d="M{x:.1f} {_y(b.found.low):.1f}V{_y(b.found.high):.1f}" '
                f'stroke="{colour}" opacity=".5"/>'
            )
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{b.hits} hits: '
            f"stated {b.stated:.1%}, found {b.found.value:.1%}</title></circle>"
        )
    return parts


def _legend() -> list[str]:
    y = _SIZE + 2 * _MARGIN + 12
    return [
        f'<circle cx="{_MARGIN + offset}" cy="{y - 4}" r="4" fill="{_COLOURS[name]}"/>'
        f'<text x="{_MARGIN + offset + 10}" y="{y}">{name}</text>'
        for name, offset in (("before", 0), ("after", 90))
    ]
