"""Fills the templates of prometheus.yml and its rules with the values of ``values.toml``.

    python deploy/prometheus/render.py                  # what is shipped: rules/, prometheus.yml
    python deploy/prometheus/render.py --profile compressed --out DIR api_target=127.0.0.1:8000

A placeholder is ``<<name>>``. Prometheus has no variables of its own, and a window that is written
in twenty rules is changed in nineteen.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE / "templates"
PROFILES = ("production", "compressed")

_PLACEHOLDER = re.compile(r"<<([a-z_]+)>>")
_BANNER = "# Rendered from templates/{name}.in and values.toml. Edit those, then `make rules`.\n"


def read_values(profile: str) -> dict[str, str]:
    """Return every value of a profile by name, as it is written into the rules."""
    tables = tomllib.loads((HERE / "values.toml").read_text(encoding="utf-8"))
    chosen = dict(tables[profile])
    merged = {**tables["thresholds"], **chosen.pop("places"), **chosen}
    return {name: str(value) for name, value in merged.items()}


def thresholds() -> dict[str, float]:
    """Return the thresholds as numbers, for those who apply the same rules elsewhere."""
    return {
        name: float(value)
        for name, value in tomllib.loads((HERE / "values.toml").read_text(encoding="utf-8"))[
            "thresholds"
        ].items()
    }


def render(profile: str, changed: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return path, relative to this directory, to content of every rendered file.

    Args:
        profile: One of ``PROFILES``.
        changed: Values that win over those of the profile.

    Raises:
        ValueError: A placeholder or a changed value is unknown.
    """
    values = read_values(profile)
    if unknown := set(changed or {}) - set(values):
        raise ValueError(f"not in values.toml: {', '.join(sorted(unknown))}")
    values |= changed or {}
    files = {}
    for template in sorted(TEMPLATES.rglob("*.yml.in")):
        name = template.relative_to(TEMPLATES).as_posix().removesuffix(".in")
        filled = _fill(template.read_text(encoding="utf-8"), values, name)
        files[name] = _BANNER.format(name=name) + filled
    return files


def write(files: Mapping[str, str], out: Path) -> None:
    """Write rendered files under a directory."""
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def _fill(template: str, values: Mapping[str, str], name: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ValueError(f"{name}: <<{match[1]}>> is not in values.toml")
        return values[match[1]]

    return _PLACEHOLDER.sub(value, template)


def main() -> None:
    """Render as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--profile", choices=PROFILES, default="production")
    parser.add_argument("--out", type=Path, default=HERE, help="default: where this script lies")
    parser.add_argument("changes", nargs="*", metavar="NAME=VALUE", help="values to change")
    options = parser.parse_args()
    changes = dict(change.split("=", 1) for change in options.changes)
    write(render(options.profile, changes), options.out)


if __name__ == "__main__":
    main()
