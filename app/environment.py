"""Reading settings: environment variables that begin with ``ISOGLOT_``, and files of secrets."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.settings import PREFIX, Settings, secret_settings

_OF_TESTS = f"{PREFIX}TEST_"


class InvalidSettingsError(ValueError):
    """One or more settings cannot be used; the message has one line for each."""


def load_settings(**overrides: str | int | Path | None) -> Settings:
    """Read settings from the environment, and secrets from the files that it names.

    A secret can be given as ``ISOGLOT_<NAME>`` or as ``ISOGLOT_<NAME>_FILE``, the path of a file
    that holds nothing else; a line break at its end does not count.

    Args:
        overrides: Settings by field name that win over the environment; ``None`` is no override.

    Raises:
        InvalidSettingsError: Values are out of range, variables that begin with ``ISOGLOT_`` are
            not settings, or files of secrets cannot be read. All of them are named.
    """
    problems = _unknown_variables()
    given: dict[str, object] = dict(_secrets_from_files(problems))
    given |= {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        problems += [_problem(e) for e in error.errors()]
        raise InvalidSettingsError("\n".join(problems)) from error
    if problems:
        raise InvalidSettingsError("\n".join(problems))
    return settings


def _problem(error: ErrorDetails) -> str:
    field = str(error["loc"][0])
    shown = "" if field in secret_settings() else f" (it is {error['input']!r})"
    # Before a message of our own pydantic writes that it is one.
    return f"{_variable(field)}: {error['msg'].removeprefix('Value error, ')}{shown}"


def _variable(field: str) -> str:
    return PREFIX + field.upper()


def _file_variable(field: str) -> str:
    return f"{_variable(field)}_FILE"


def _environment() -> dict[str, str]:
    """Return our variables by upper-case name: settings are read without regard to case."""
    return {
        name.upper(): value
        for name, value in os.environ.items()
        if name.upper().startswith(PREFIX) and not name.upper().startswith(_OF_TESTS)
    }


def _secrets_from_files(problems: list[str]) -> dict[str, str]:
    """Read the secrets that are given as files; adds what is wrong with them to ``problems``."""
    ours = _environment()
    secrets = {}
    for field in secret_settings():
        name = _file_variable(field)
        if name not in ours:
            continue
        if _variable(field) in ours:
            problems.append(f"{name}: {_variable(field)} is set too; keep one of them.")
            continue
        try:
            secret = Path(ours[name]).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            problems.append(f"{name}: {ours[name]} cannot be read: {reason}.")
            continue
        if secret:
            secrets[field] = secret
        else:
            problems.append(f"{name}: {ours[name]} is empty.")
    return secrets


def _unknown_variables() -> list[str]:
    known = {_variable(field) for field in Settings.model_fields}
    known |= {_file_variable(field) for field in secret_settings()}
    lines = []
    for name in sorted(_environment().keys() - known):
        nearest = get_close_matches(name, sorted(known), n=1, cutoff=0.0)[0]
        lines.append(f"{name} is not a setting. The nearest one is {nearest}.")
    return lines
