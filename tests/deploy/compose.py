"""Reads the compose file, and overlays on it, the way compose merges them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.dockerfile import ROOT

BASE = ROOT / "docker-compose.yml"
CLUSTER = ROOT / "docker-compose.cluster.yml"

_REPLACED = frozenset({"command", "entrypoint", "test"})
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def read(*overlays: Path) -> dict[str, Any]:
    """Return the base with the overlays on it, variables at their defaults."""
    merged = _load(BASE)
    for overlay in overlays:
        extended = _load(overlay)
        for name, service in extended["services"].items():
            origin = service.pop("extends", None)
            if origin is not None:
                assert origin["file"] == BASE.name
                below = _load(BASE)["services"][origin["service"]]
                extended["services"][name] = _merge(below, service)
        merged = _merge(merged, extended)
    return merged


def services(*overlays: Path) -> list[tuple[str, dict[str, Any]]]:
    return list(read(*overlays)["services"].items())


def _load(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    document = yaml.safe_load(_VARIABLE.sub(r"\2", text))
    assert isinstance(document, dict)
    return document


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        known = merged.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            merged[name] = _merge(known, value)
        elif name == "volumes" and isinstance(known, list):
            # A volume replaces the one that is mounted at the same place.
            places = {str(volume).split(":")[1] for volume in value}
            kept = [volume for volume in known if str(volume).split(":")[1] not in places]
            merged[name] = [*kept, *value]
        elif isinstance(known, list) and isinstance(value, list) and name not in _REPLACED:
            merged[name] = [*known, *value]
        else:
            merged[name] = value
    return merged
