"""Consoles for people: results on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console


def results() -> Console:
    """Return the console for results."""
    return _console(sys.stdout)


def messages() -> Console:
    """Return the console for messages and progress."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    console = Console(file=stream, highlight=False)
    # A pipe has no width: long lines there are better than cut ones.
    if not console.is_terminal:
        console.width = max(console.width, 120)
    return console
