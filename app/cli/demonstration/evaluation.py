"""Smoke evaluation on the demo corpus: is the right passage found, and do probabilities hold?

Pure functions over what searches returned. The corpus is small and written for this project, so
its figures show that everything works together; the evaluation report of a bundle measures.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from app.core.types import FloatArray

BIN_EDGES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Bounds of the reliability table; a bin holds its lower bound, the last one both."""

Kind = Literal["answerable", "unanswerable", "gibberish"]
KINDS: tuple[Kind, ...] = ("answerable", "unanswerable", "gibberish")


@dataclass(frozen=True, slots=True)
class JudgedHit:
    """A returned passage with its label.

    Attributes:
        probability: Stated probability of relevance; ``None`` without a calibrator.
        relevant: Whether the passage answers the question.
        same_language: Whether it is in the question's language.
    """

    probability: float | None
    relevant: bool
    same_language: bool


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """What came back for one question.

    Attributes:
        kind: Which sort of question it is.
        language: Its language; empty for gibberish.
        answerable: Stated ``answerable_probability``.
        hits: Best first.
    """

    kind: Kind
    language: str
    answerable: float | None
    hits: Sequence[JudgedHit]


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well the right passage is found, over a group of answerable questions.

    Attributes:
        questions: Size of the group.
        hit_at_1: Share whose first hit is relevant, in whatever language.
        mean_reciprocal_rank: Mean of 1 / rank of the first relevant hit, 0 where none is.
        cross_language_share: Share of all returned hits in another language than the question.
    """

    questions: int
    hit_at_1: float
    mean_reciprocal_rank: float
    cross_language_share: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """Stated probability against relevance found, over a group of hits.

    Attributes:
        hits: Size of the group.
        expected: Sum of the stated probabilities.
        observed: Number of relevant hits.
        ratio: expected / observed; ``None`` where nothing relevant was returned.
    """

    hits: int
    expected: float
    observed: int
    ratio: float | None


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One row of the reliability table; ``stated`` and ``found`` are means over its hits."""

    low: float
    high: float
    hits: int
    stated: float
    found: float


@dataclass(frozen=True, slots=True)
class Quartiles:
    """A distribution in five numbers; quantiles are interpolated linearly."""

    count: int
    lowest: float
    lower: float
    median: float
    upper: float
    highest: float


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The whole evaluation.

    Attributes:
        ranking: Over all answerable questions.
        ranking_by_language: By language of the question.
        agreement: ``all``, ``same`` and ``cross`` language hits of all questions with labels,
            and by kind of question; empty without a calibrator.
        reliability: Over all hits of questions with labels; bins without hits are left out.
        top_probability: Kind of question to the distribution of the first hit's probability.
        answerable_probability: The same for the stated probability of an answer.
    """

    ranking: Ranking
    ranking_by_language: Mapping[str, Ranking]
    agreement: Mapping[str, Agreement]
    reliability: Sequence[ReliabilityBin]
    top_probability: Mapping[str, Quartiles]
    answerable_probability: Mapping[str, Quartiles]


def evaluate(answers: Sequence[JudgedAnswer]) -> DemoReport:
    """Evaluate what came back for answerable, unanswerable and gibberish questions."""
    answerable = [answer for answer in answers if answer.kind == "answerable"]
    labelled = [hit for a in answers if a.kind != "gibberish" for hit in a.hits]
    by_kind: dict[str, list[JudgedHit]] = {
        kind: [hit for a in answers if a.kind == kind for hit in a.hits] for kind in KINDS
    }
    groups: dict[str, list[JudgedHit]] = {
        "all": labelled,
        "same": [hit for hit in labelled if hit.same_language],
        "cross": [hit for hit in labelled if not hit.same_language],
        **by_kind,
    }
    calibrated = all(hit.probability is not None for hit in labelled)
    return DemoReport(
        ranking=rank(answerable),
        ranking_by_language={
            language: rank([a for a in answerable if a.language == language])
            for language in sorted({a.language for a in answerable})
        },
        agreement={k: agree(hits) for k, hits in groups.items() if hits} if calibrated else {},
        reliability=reliability(labelled) if calibrated else (),
        top_probability=_distributions(answers, _top),
        answerable_probability=_distributions(answers, _answerable),
    )


def rank(answers: Sequence[JudgedAnswer]) -> Ranking:
    """Return how well the right passage is found; zeros for no questions."""
    first_relevant = [reciprocal_rank(answer.hits) for answer in answers]
    hits = [hit for answer in answers for hit in answer.hits]
    return Ranking(
        questions=len(answers),
        hit_at_1=_mean(value == 1.0 for value in first_relevant),
        mean_reciprocal_rank=_mean(first_relevant),
        cross_language_share=_mean(not hit.same_language for hit in hits),
    )


def reciprocal_rank(hits: Sequence[JudgedHit]) -> float:
    """Return 1 / rank of the first relevant hit, 0 where there is none."""
    ranks = (position for position, hit in enumerate(hits, start=1) if hit.relevant)
    return 1.0 / next(ranks, float("inf"))


def agree(hits: Sequence[JudgedHit]) -> Agreement:
    """Return expected against observed relevant hits."""
    expected = float(np.sum(_stated(hits)))
    observed = sum(hit.relevant for hit in hits)
    return Agreement(len(hits), expected, observed, expected / observed if observed else None)


def reliability(hits: Sequence[JudgedHit]) -> tuple[ReliabilityBin, ...]:
    """Return mean stated probability and share of relevant hits by bin of probability."""
    stated = _stated(hits)
    found = np.array([hit.relevant for hit in hits], dtype=np.float64)
    index = np.clip(np.searchsorted(BIN_EDGES, stated, side="right") - 1, 0, len(BIN_EDGES) - 2)
    return tuple(
        ReliabilityBin(
            low=low,
            high=high,
            hits=int(members.sum()),
            stated=float(stated[members].mean()),
            found=float(found[members].mean()),
        )
        for number, (low, high) in enumerate(pairwise(BIN_EDGES))
        if (members := index == number).any()
    )


def quartiles(values: Sequence[float]) -> Quartiles:
    """Return a distribution in five numbers; ``values`` is not empty."""
    five = np.quantile(np.asarray(values, dtype=np.float64), [0.0, 0.25, 0.5, 0.75, 1.0])
    return Quartiles(len(values), *map(float, five))


def gibberish(count: int, *, seed: int = 20) -> list[str]:
    """Return strings of 3 to 6 words of 3 to 10 random Latin letters; a seed names its strings."""
    draw = random.Random(seed)  # noqa: S311 - reproducible nonsense, no secret
    return [
        " ".join(
            "".join(draw.choices(string.ascii_lowercase, k=draw.randint(3, 10)))
            for _ in range(draw.randint(3, 6))
        )
        for _ in range(count)
    ]


def _distributions(
    answers: Sequence[JudgedAnswer], stated: Callable[[JudgedAnswer], float | None]
) -> dict[str, Quartiles]:
    values: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for answer in answers:
        value = stated(answer)
        if value is not None:
            values[answer.kind].append(value)
    return {kind: quartiles(found) for kind, found in values.items() if found}


def _top(answer: JudgedAnswer) -> float | None:
    return answer.hits[0].probability if answer.hits else None


def _answerable(answer: JudgedAnswer) -> float | None:
    return answer.answerable


def _stated(hits: Sequence[JudgedHit]) -> FloatArray:
    return np.array([hit.probability for hit in hits], dtype=np.float64)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return float(np.mean(listed)) if listed else 0.0
