"""TOML files, and those that say only what they add to another one.

A file with ``base = "other.toml"``, relative to its own place, is put over that file: its sources
of data are added to the other's, every other value takes the other's place, table by table.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from training.errors import ConfigError

BASE = "base"
_ADDED = ("pairs", "parallel", "lexicon")


def parse_toml(text: str, origin: str) -> dict[str, Any]:
    """Return what a TOML text says.

    Raises:
        ConfigError: It is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{origin} is not valid TOML: {exc}") from exc


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Return what a TOML file says.

    Args:
        path: The file.
        what: What to call it in errors.

    Raises:
        ConfigError: It cannot be read, or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"Cannot read the {what} {path}: {exc.strerror}") from exc
    return parse_toml(text, str(path))


def read_over_base(path: Path, *, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return what the TOML file of a run says, put over its base where it names one.

    Args:
        path: The file.
        above: The files that are based on it, resolved.

    Raises:
        ConfigError: It or its base cannot be read, or it is based on itself.
    """
    document = read_toml(path, "configuration")
    base = document.pop(BASE, None)
    if base is None:
        return document
    if not isinstance(base, str):
        raise ConfigError(f"{path} cannot be used:\n  {BASE}: must be the path of a TOML file")
    chain = (*above, path.resolve())
    below = path.parent / base
    if below.resolve() in chain:
        raise ConfigError(f"{path} cannot be used:\n  {BASE}: {base} is based on this file")
    return _put_over(read_over_base(below, above=chain), document)


def _put_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = below.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            merged[name] = _put_over(old, value)
        elif name in _ADDED and isinstance(value, list) and isinstance(old, list):
            merged[name] = old + value
        else:
            merged[name] = value
    return merged
