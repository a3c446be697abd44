"""What was stated of a hit, what somebody says of it, and the log that keeps both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Source = Literal["explicit", "judged", "click"]
"""``explicit``: a user said so. ``judged``: an assessor did, of hits drawn for it. ``click``: the
hit was opened, which depends on where it stood and is no label."""


class Statement(NamedTuple):
    """What was stated of a hit when it was served, and what the calibrator read.

    Attributes:
        query_id: Of the answer, 32 hexadecimal digits.
        passage_id: As the caller was shown it.
        rank: Position in the answer, from 1.
        probability: P(relevant) as it was stated.
        calibrator: Id of the calibrator that stated it, 12 hexadecimal digits.
        query_language: Most likely language of the query, BCP-47, or ``und``.
        passage_language: Of the passage, BCP-47, or ``und``.
        issued: When, in whole seconds since 1970.
        score: Cosine.
        background: Mean score of the background ranks of the list.
        corpus_size: Number of eligible passages.
        language_rank: Rank, from 1, among the hits of its language.
        language_lead: As ``LanguageStanding.lead``.
        language_lag: As ``LanguageStanding.lag``.
        language_size: Number of eligible passages in its language.
        same: P(query and passage are in the same language).
        cross: P(they are in different ones); the rest to 1 is not known.
        shadow: Id of the calibrator that ran in its shadow; empty without one.
        shadow_probability: What that one would have stated; 0 without one.
        tenant: Whose passages were searched; empty where there are no tenants.
    """

    query_id: str
    passage_id: str
    rank: int
    probability: float
    calibrator: str
    query_language: str
    passage_language: str
    issued: int
    score: float
    background: float
    corpus_size: int
    language_rank: int
    language_lead: float
    language_lag: float
    language_size: int
    same: float
    cross: float
    shadow: str = ""
    shadow_probability: float = 0.0
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a caller says of a hit.

    Attributes:
        token: What the hit carried.
        source: Who says so.
        relevant: The label; ``None`` for a click, and where a label is taken back.
    """

    token: str
    source: Source
    relevant: bool | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log.

    Attributes:
        statement: What was stated.
        source: Who said something of it.
        relevant: The label; ``None`` for a click, and where a label is taken back.
        received: When, in seconds since 1970.
    """

    statement: Statement
    source: Source
    relevant: bool | None
    received: float


@dataclass(frozen=True, slots=True)
class Label:
    """The label of a hit that counts.

    Attributes:
        source: Who gave it.
        relevant: What it says.
    """

    source: Source
    relevant: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """What the log holds of a hit after an entry was offered.

    Attributes:
        is_taken: Whether the entry changed what is held.
        relevant: The label that counts now; ``None`` for a click, and where there is none.
        before: The label that counted until this entry ended it.
    """

    is_taken: bool
    relevant: bool | None
    before: Label | None = None


def settled(entry: Entry, stands: Label | None) -> Kept:
    """Return what becomes of a hit's label when another entry comes: the latest counts.

    But a user does not overrule an assessor: what is ``judged`` ends by what is ``judged``.

    Args:
        entry: Of a label, or of one that is taken back.
        stands: The label that counts so far.
    """
    if stands is None:
        return Kept(is_taken=entry.relevant is not None, relevant=entry.relevant)
    overruled = stands.source == "judged" and entry.source != "judged"
    if overruled or (stands.source, stands.relevant) == (entry.source, entry.relevant):
        return Kept(is_taken=False, relevant=stands.relevant)
    return Kept(is_taken=True, relevant=entry.relevant, before=stands)


class FeedbackLog(Protocol):
    """Keeps feedback. Of every hit it keeps one label, as ``settled`` says, and the first click.

    Every method raises ``FeedbackLogError`` where the log cannot be read or written.
    """

    async def open(self) -> None:
        """Open the log, or make it."""
        ...

    async def close(self) -> None:
        """Let go of it; a second call does nothing."""
        ...

    async def append(self, entries: Sequence[Entry]) -> list[Kept]:
        """Add entries, all or none; returns once they survive loss of power.

        Returns:
            For every entry, in order, what the log holds now.
        """
        ...

    async def read(self, *, after: int = 0, limit: int = 1000) -> list[tuple[int, Entry]]:
        """Return the next entries in the order they came, each with its number, from 1.

        A label that was changed stays in the place of the first; one that was taken back is left
        out.

        Args:
            after: Number of the entry to go on after.
            limit: How many to return at most.
        """
        ...
