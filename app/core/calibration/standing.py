"""How the hits of a list stand among the passages of their language.

Passages of one language compete for being the answer, translations do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from app.core.calibration.document import RankRange
from app.core.types import FloatArray


class LanguageStanding(NamedTuple):
    """How a hit stands among the passages of its language.

    Attributes:
        rank: Its rank, from 1, among the hits of its language.
        lead: For the best hit of a language, by how much it beats the next one; else 0.
        lag: By how much it scores less than the best hit of its language.
        size: Number of eligible passages in its language.
    """

    rank: int
    lead: float
    lag: float
    size: int


@dataclass(frozen=True, slots=True)
class Standings:
    """The standings of all hits of a list.

    Attributes:
        languages: The distinct languages, in the order of their best hits.
        language: For every hit, which of them it is in.
        rank: ``LanguageStanding.rank`` of every hit; the others likewise.
        lead: In the order of the hits.
        lag: In the order of the hits.
        size: In the order of the hits.
    """

    languages: list[str] = field(default_factory=list)
    language: list[int] = field(default_factory=list)
    rank: list[int] = field(default_factory=list)
    lead: list[float] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)
    size: list[int] = field(default_factory=list)

    def each(self) -> list[LanguageStanding]:
        """Return the standing of every hit."""
        return list(map(LanguageStanding, self.rank, self.lead, self.lag, self.size))


def standings(
    scores: FloatArray,
    passage_languages: Sequence[str],
    language_sizes: Mapping[str, int],
    ranks: RankRange,
) -> Standings:
    """Return how the hits of a list stand among the passages of their language.

    Nothing in it depends on how long the list is, beyond the last background rank: a lead is
    measured against the score at that rank where no other hit of the language scores more.

    Args:
        scores: Descending, float64 of shape (n,).
        passage_languages: Languages of the hits.
        language_sizes: As in ``ServedList``.
        ranks: The background ranks.
    """
    found = Standings()
    place: dict[str, int] = {}
    best: list[float] = []
    seconds: dict[int, float] = {}
    counts: list[int] = []
    for language, score in zip(passage_languages, scores.tolist(), strict=True):
        at = place.setdefault(language, len(counts))
        if at == len(counts):
            counts.append(0)
            best.append(score)
        counts[at] += 1
        if counts[at] == 2:
            seconds[at] = score
        found.language.append(at)
        found.rank.append(counts[at])
        found.lag.append(best[at] - score)
    floor = float(scores[: ranks.to_rank][-1]) if len(scores) else 0.0
    leads = [max(top - max(floor, seconds.get(at, floor)), 0.0) for at, top in enumerate(best)]
    sizes = [max(language_sizes.get(language, 0), counts[at]) for language, at in place.items()]
    found.languages.extend(place)
    found.lead.extend(
        [
            leads[at] if rank == 1 else 0.0
            for at, rank in zip(found.language, found.rank, strict=True)
        ]
    )
    found.size.extend([sizes[at] for at in found.language])
    return found


def language_standings(
    scores: FloatArray,
    passage_languages: Sequence[str],
    language_sizes: Mapping[str, int],
    ranks: RankRange,
) -> list[LanguageStanding]:
    """Return ``standings`` hit by hit."""
    return standings(scores, passage_languages, language_sizes, ranks).each()
