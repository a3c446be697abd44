"""How far a reindexing is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Phase = Literal[
    "waiting", "copying", "removing", "catching up", "indexing", "verifying", "switching", "done"
]

State = Literal["running", "done", "failed", "cancelled"]


@dataclass(slots=True)
class Progress:
    """How far copying is.

    Attributes:
        phase: What is going on.
        passages: Stored passages when it began.
        compared: Of these, how many have been compared.
        embedded: How many were embedded anew.
        removed: How many were removed from the target, because the source has them no more.
    """

    phase: Phase = "waiting"
    passages: int = 0
    compared: int = 0
    embedded: int = 0
    removed: int = 0


@dataclass(slots=True)
class Reindexing:
    """A reindexing that was begun.

    Attributes:
        bundle: Short id of the bundle whose encoder embeds the passages.
        collection: Where they go.
        progress: How far it is.
        state: Whether it goes on, and how it ended.
        error: Why it failed, fit to show to a user.
    """

    bundle: str
    collection: str
    progress: Progress = field(default_factory=Progress)
    state: State = "running"
    error: str | None = None
