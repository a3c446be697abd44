"""Exit codes, and errors as one message on stderr instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from app.core.errors import InvalidInputError, IsoglotError, StoreLockedError


class Exit(IntEnum):
    """What an exit code means."""

    OK = 0
    REJECTED = 1
    USAGE = 2
    CANNOT_START = 3
    INTERRUPTED = 130


EXIT_CODES = (
    "Exit codes: 0 all well; 1 some input was rejected, or a check failed; 2 the command was "
    "used wrongly; 3 the command could not start, or could not go on; "
    "130 interrupted."
)

_LOCKED_HINT = (
    "A running service has it open? Then send to that service instead: --url http://127.0.0.1:8000"
)


class CannotStartError(Exception):
    """The command cannot do its work here; the message says why and what to do."""


class UsageError(Exception):
    """The command line asks for something impossible; the message says what."""


def complain(message: str) -> None:
    """Write a message to stderr."""
    typer.echo(message, err=True)


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Turn errors that the product raises on purpose into a message and an exit code.

    Errors that nobody expects keep their traceback: they are bugs, and it is needed.
    """
    try:
        yield
    except StoreLockedError as error:
        complain(f"{error}\n{_LOCKED_HINT}")
        raise typer.Exit(Exit.CANNOT_START) from None
    except (InvalidInputError, UsageError) as error:
        complain(str(error))
        raise typer.Exit(Exit.USAGE) from None
    except (IsoglotError, CannotStartError) as error:
        complain(str(error))
        raise typer.Exit(Exit.CANNOT_START) from None
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None
