"""Writes the dashboards that Grafana reads: ``python -m deploy.grafana.build``.

They are written in Python, with Grafana's own typed builders, so that a panel is a few lines, units
and data source cannot be forgotten, and a metric that was renamed is found by a test.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import calibration, languages, service, store

DASHBOARDS = Path(__file__).resolve().parent / "dashboards"

BUILDERS: dict[str, Callable[[], Dashboard]] = {
    "service": service.build,
    "calibration": calibration.build,
    "languages": languages.build,
    "store": store.build,
}


def render() -> dict[str, str]:
    """Return file name to content of every dashboard."""
    return {f"{name}.json": _render(build()) for name, build in BUILDERS.items()}


def _render(board: Dashboard) -> str:
    built = board.build()
    for number, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number
    return json.dumps(built, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all of them."""
    DASHBOARDS.mkdir(exist_ok=True)
    for name, content in render().items():
        (DASHBOARDS / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
