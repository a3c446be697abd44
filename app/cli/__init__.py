"""The command line, ``isoglot``.

Everything heavy is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line; the entry point of the distribution."""
    from app.cli.application import cli

    cli(prog_name="isoglot")
