"""Traffic to replay: which query comes when, and which of its hits are relevant.

Knows nothing of HTTP or time: everything is a function of the seed and the number of the search, so
that a replay can be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.cli.exits import CannotStartError, UsageError
from app.core.calibration.calibrator import sigmoid
from app.core.calibration.monitoring import LabelSums
from app.core.languages.codes import primary_language

FaultKind = Literal[
    "none", "over-confidence", "prior-shift", "language-mix", "vague-queries", "other-encoder"
]

STRENGTHS: dict[FaultKind, float] = {
    "none": 0.0,
    "over-confidence": 1.5,
    "prior-shift": -0.6,
    "language-mix": 0.9,
    "vague-queries": 0.5,
    "other-encoder": 1.0,
}
"""What each fault is by default; its meaning is said by ``Fault``."""

_MIN_LOGIT_P = 1e-9
_WRONG_VOCABULARY = 7


class RecordedQuery(BaseModel):
    """One line of a file of traffic."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: str = Field(min_length=1)
    language: str | None = None
    relevant: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, from some moment on.

    Attributes:
        kind: ``over-confidence``: the true logit is the stated one divided by the strength.
            ``prior-shift``: the true logit is the stated one plus the strength.
            ``language-mix``: that share of the queries is in one language; labels stay true, so
            this is no fault of probabilities. ``vague-queries``: of every query only that share is
            asked, so that scores fall; labels stay true here, too. ``other-encoder``: every word
            is read as another one, as with the vocabulary of another encoder, and what is found
            is not relevant.
        strength: See above.
        language: Of the mix.
    """

    kind: FaultKind = "none"
    strength: float = 0.0
    language: str = ""

    def true_probability(self, stated: float) -> float:
        """Return the probability that a hit is relevant which was stated to be with ``stated``."""
        p = min(max(stated, _MIN_LOGIT_P), 1.0 - _MIN_LOGIT_P)
        logit = float(np.log(p) - np.log1p(-p))
        match self.kind:
            case "over-confidence":
                return _probability(logit / self.strength)
            case "prior-shift":
                return _probability(logit + self.strength)
            case "other-encoder":
                return 0.0
            case _:
                return stated


def _probability(logit: float) -> float:
    return float(sigmoid(np.array([logit]))[0])


HEALTHY = Fault()


def fault_of(
    kind: str, strength: float | None, language: str | None, queries: Sequence[RecordedQuery]
) -> Fault:
    """Return the fault that options describe.

    Raises:
        UsageError: The strength or the language cannot be used.
    """
    if kind not in get_args(FaultKind):
        raise UsageError(f"--fault {kind} is unknown; choose {', '.join(get_args(FaultKind))}.")
    known: FaultKind = kind  # type: ignore[assignment]  # checked above
    chosen = STRENGTHS[known] if strength is None else strength
    if known == "over-confidence" and chosen <= 0.0:
        raise UsageError("--strength of over-confidence divides logits: it must be above 0.")
    if known in ("language-mix", "vague-queries") and not 0.0 <= chosen <= 1.0:
        raise UsageError(f"--strength of {known} is a share: 0 to 1.")
    if known == "language-mix":
        return Fault(known, chosen, _mixed_language(language, queries))
    return Fault(known, chosen)


def _mixed_language(language: str | None, queries: Sequence[RecordedQuery]) -> str:
    there = sorted({primary_language(q.language) for q in queries if q.language})
    if not there:
        raise UsageError("language-mix needs queries whose language is recorded.")
    if language is None:
        return there[-1]
    if language not in there:
        raise UsageError(f"No query is in {language!r}; there are {', '.join(there)}.")
    return language


@dataclass(frozen=True, slots=True)
class Asked:
    """A search to send.

    Attributes:
        number: Of the search, from 0.
        text: What is sent: not the query itself, if the fault garbles or cuts it.
        language: What is stated as its language.
        relevant: Recorded relevant passages.
        fault: What is wrong at this time.
    """

    number: int
    text: str
    language: str | None
    relevant: frozenset[str] | None
    fault: Fault


@dataclass(frozen=True, slots=True)
class Traffic:
    """All searches of a replay.

    Attributes:
        queries: Recorded ones; which comes when is drawn, each as likely as the others.
        recorded: Whether hits are relevant if recorded as such; else with the true probability
            of the fault.
        seed: Of all that is drawn.
    """

    queries: Sequence[RecordedQuery]
    recorded: bool
    seed: int
    _by_language: dict[str, list[RecordedQuery]] = field(default_factory=dict, repr=False)

    def search(self, number: int, fault: Fault) -> Asked:
        """Return a search by its number, from 0."""
        random = np.random.default_rng((self.seed, number, 0))
        pool = self.queries
        if fault.kind == "language-mix" and random.random() < fault.strength:
            pool = self._in_language(fault.language)
        drawn = pool[int(random.integers(len(pool)))]
        return Asked(
            number=number,
            text=_as_asked(drawn.query, fault),
            language=drawn.language,
            relevant=None if drawn.relevant is None else frozenset(drawn.relevant),
            fault=fault,
        )

    def label(self, asked: Asked, hits: Sequence[tuple[str, float]]) -> list[bool]:
        """Return for every hit whether it is relevant.

        Args:
            asked: The search.
            hits: Passage id and stated probability of every hit.
        """
        if self.recorded:
            relevant = asked.relevant or frozenset()
            return [passage in relevant for passage, _ in hits]
        random = np.random.default_rng((self.seed, asked.number, 1))
        drawn = random.random(len(hits))
        return [
            bool(chance < asked.fault.true_probability(stated))
            for chance, (_, stated) in zip(drawn, hits, strict=True)
        ]

    def _in_language(self, language: str) -> list[RecordedQuery]:
        if language not in self._by_language:
            self._by_language[language] = [
                q for q in self.queries if q.language and primary_language(q.language) == language
            ]
        return self._by_language[language]


def _as_asked(query: str, fault: Fault) -> str:
    match fault.kind:
        case "other-encoder":
            return other_words(query)
        case "vague-queries":
            return query[: max(1, round(len(query) * fault.strength))]
        case _:
            return query


def other_words(text: str) -> str:
    """Return a text as an encoder with another vocabulary reads it: other words, as many.

    Letters are moved on within their block of the alphabet's code points, so the script stays.
    """
    return "".join(
        chr(ord(letter) // 16 * 16 + (ord(letter) + _WRONG_VOCABULARY) % 16)
        if letter.isalpha()
        else letter
        for letter in text
    )


@dataclass(slots=True)
class Tally:
    """What was sent and what came back, of one part of a replay.

    Attributes:
        searches: Searches that were answered.
        unanswered: Searches that were not, after retries.
        accepted: Labels that the service took.
        refused: Labels that it did not take: duplicates, or tokens it rejected.
        labels: Stated probabilities and labels, by relation.
    """

    searches: int = 0
    unanswered: int = 0
    accepted: int = 0
    refused: int = 0
    labels: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)

    def add(self, relation: str, stated: float, *, relevant: bool) -> None:
        """Count a label."""
        probabilities, found = self.labels.setdefault(relation, ([], []))
        probabilities.append(stated)
        found.append(float(relevant))

    def sums(self) -> dict[str, LabelSums]:
        """Return the labels by relation, summed up as the service does."""
        return {
            relation: LabelSums.of(np.array(stated), np.array(found))
            for relation, (stated, found) in sorted(self.labels.items())
        }


def read_traffic(path: Path) -> list[RecordedQuery]:
    """Read JSON Lines of ``{query, language?, relevant?}``.

    Raises:
        CannotStartError: The file cannot be read, a line is not of this form, or there is none.
    """
    queries = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                queries.append(_line(path, number, line))
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStartError(f"{path} cannot be read: {error}") from error
    if not queries:
        raise CannotStartError(f"{path} holds no queries; one JSON object a line is needed.")
    return queries


def _line(path: Path, number: int, line: str) -> RecordedQuery:
    try:
        return RecordedQuery.model_validate_json(line)
    except ValidationError as error:
        problems = "; ".join(
            f"{'/'.join(map(str, e['loc'])) or 'line'}: {e['msg']}" for e in error.errors()
        )
        raise CannotStartError(f"{path}:{number}: {problems}") from error
