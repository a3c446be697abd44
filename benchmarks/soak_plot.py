"""The figure of a soak: memory, files and threads, and latency over time, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_WIDTH, _PANEL, _LEFT, _TOP = 640, 130, 64, 30
_COLOURS = ("#2b5fd9", "#9a6700")
_PANELS = (
    ("memory, MiB", ("rss", "anonymous")),
    ("open files and threads", ("files", "threads")),
    ("searches, ms", ("p50", "p99")),
)


def plot(notes: Sequence[Mapping[str, float]]) -> str:
    """Return the figure.

    Args:
        notes: At least one, each with ``minutes`` and the values of all panels.
    """
    height = _TOP + len(_PANELS) * (_PANEL + 44)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="12">'
    )
    parts = [head, '<rect width="100%" height="100%" fill="#ffffff"/>']
    for number, (title, names) in enumerate(_PANELS):
        parts += _panel(_TOP + number * (_PANEL + 44), title, names, notes)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(
    top: int, title: str, names: Sequence[str], notes: Sequence[Mapping[str, float]]
) -> list[str]:
    last = max(note["minutes"] for note in notes) or 1.0
    most = max(note[name] for note in notes for name in names) * 1.08 or 1.0
    right = _WIDTH - 20
    parts = [f'<text x="{_LEFT}" y="{top - 8}" font-weight="600">{title}</text>']
    for share in (0.0, 0.5, 1.0):
        y = top + (1 - share) * _PANEL
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#dde1e8"/>')
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#5a6475">'
            f"{share * most:.0f}</text>"
        )
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = _LEFT + share * (right - _LEFT)
        parts.append(
            f'<text x="{x:.1f}" y="{top + _PANEL + 16}" text-anchor="middle" fill="#5a6475">'
            f"{share * last:.0f} min</text>"
        )
    for number, name in enumerate(names):
        points = " ".join(
            f"{_LEFT + note['minutes'] / last * (right - _LEFT):.1f},"
            f"{top + (1 - note[name] / most) * _PANEL:.1f}"
            for note in notes
        )
        colour = _COLOURS[number]
        x = right - 90 * (len(names) - number)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        parts.append(f'<text x="{x}" y="{top - 8}" fill="{colour}">{name}</text>')
    return parts
