"""What the commands share: progress bars, and errors told in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from app.core.errors import IsoglotError
from training.errors import TrainingError

INSTALL = "pip install '.[training]'"
EXIT_CODES = (
    "Exit codes: 0 all well; 1 a check failed; 2 the configuration or a data file is wrong; "
    "3 the command could not start, or could not go on; 130 interrupted."
)
CANNOT_START = 3
INTERRUPTED = 130


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Turn errors that are raised on purpose, and a missing extra, into a message and exit code.

    Errors that nobody expects keep their traceback: they are bugs, and it is needed.
    """
    try:
        yield
    except TrainingError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    except IsoglotError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(CANNOT_START) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"app", "training", ""}:
            raise
        typer.echo(
            f"{package!r} is not installed. This command needs the training extra:\n  {INSTALL}",
            err=True,
        )
        raise typer.Exit(CANNOT_START) from None


def bars(*, shown: bool = True) -> Progress:
    """Return progress bars on standard error, so that standard output stays the result's.

    Args:
        shown: Of several processes that train together only one shows them.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )
