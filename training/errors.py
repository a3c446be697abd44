"""Every error the offline half raises on purpose; ``str(error)`` is fit to show to a user.

The tree::

    TrainingError
    ├── ConfigError          the TOML file says something that cannot be done
    ├── DataError            a data file breaks its schema
    ├── PreparedDataError    a prepared directory is missing, incomplete or of another version
    ├── RunError             a training run cannot start or go on
    │   └── RunInterruptedError  the user stopped it
    └── ParityError          an exported graph does not compute what was trained
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class TrainingError(Exception):
    """Base of all errors of the offline half.

    Attributes:
        exit_code: Exit code of a command that ends with it.
    """

    exit_code: ClassVar[int] = 3


class ConfigError(TrainingError):
    """The configuration says something that cannot be done."""

    exit_code = 2


class DataError(TrainingError):
    """A data file breaks its schema.

    Args:
        path: The file.
        line: Line number, from 1; ``None`` where the whole file is meant.
        problem: What was wrong and what to do about it.
    """

    exit_code = 2

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        where = f"{path}" if line is None else f"{path}, line {line}"
        super().__init__(f"{where}: {problem}")
        self.path = path
        self.line = line


class PreparedDataError(TrainingError):
    """A prepared directory is missing, incomplete or was written by another version."""


class RunError(TrainingError):
    """A training run cannot start or go on."""


class RunInterruptedError(RunError):
    """The user stopped the run; a checkpoint was written."""

    exit_code = 130


class ParityError(TrainingError):
    """An exported graph does not compute what was trained."""

    exit_code = 1
