"""How the hits of a list stand among the passages of their language.

Passages of one language compete for being the answer, translations do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class Standings(NamedTuple):
    """The standings of all hits of a list: what each hit, and what each language, has of its own.

    Attributes:
        score: Score of every hit.
        languages: The distinct languages, in the order of their best hits.
        language: For every hit, which of them it is in.
        rank: ``LanguageStanding.rank`` of every hit.
        best: Score of the best hit of every language.
        lead: By how much it beats the next one.
        size: ``LanguageStanding.size`` of every language.
    """

    score: list[float]
    languages: list[str]
    language: list[int]
    rank: list[int]
    best: list[float]
    lead: list[float]
    size: list[int]

    def of(self, at: int) -> LanguageStanding:
        """Return the standing of a hit, counted from 0."""
        language, rank = self.language[at], self.rank[at]
        lead = self.lead[language] if rank == 1 else 0.0
        return LanguageStanding(
            rank, lead, self.best[language] - self.score[at], self.size[language]
        )

    def each(self) -> list[LanguageStanding]:
        """Return the standing of every hit."""
        return [self.of(at) for at in range(len(self.rank))]


def standings(
    scores: FloatArray,
    passage_languages: Sequence[str],
    language_sizes: Mapping[str, int],
    ranks: RankRange,
    *,
    by_words: bool = False,
) -> Standings:
    """Return how the hits of a list stand among the passages of their language.

    Nothing in it depends on how long the list is, beyond the last background rank: a lead is
    measured against the score at that rank where no other hit of the language scores more.

    A list that words have added to holds all of the nearest passages down to that rank only.
    Behind it hits are not counted: they all rank next to those of their language that are before
    it, and lag behind the score at that rank where there are none.

    Args:
        scores: Descending, float64 of shape (n,).
        passage_languages: Languages of the hits.
        language_sizes: As in ``ServedList``.
        ranks: The background ranks.
        by_words: Whether some hits are in the list for their words.
    """
    values: list[float] = scores.tolist()
    place = {language: at for at, language in enumerate(dict.fromkeys(passage_languages))}
    members = list(map(place.__getitem__, passage_languages))
    nearest = min(len(values), ranks.to_rank)
    floor = values[nearest - 1] if values else 0.0
    counts, seconds = [0] * len(place), [floor] * len(place)
    best: list[float] = []
    rank: list[int] = []
    ranked = rank.append
    counted = nearest if by_words else len(values)
    for at, score in zip(members[:counted], values, strict=False):
        number = counts[at] = counts[at] + 1
        ranked(number)
        if number <= 2:
            if number == 1:
                best.append(score)
            else:
                seconds[at] = score
    rank += [counts[at] + 1 for at in members[counted:]]
    best += [floor] * (len(place) - len(best))
    lead = [
        top - second if second > floor else max(top - floor, 0.0)
        for top, second in zip(best, seconds, strict=True)
    ]
    size = [
        max(language_sizes.get(language, 0), count, 1)
        for language, count in zip(place, counts, strict=True)
    ]
    return Standings(values, list(place), members, rank, best, lead, size)


def language_standings(
    scores: FloatArray,
    passage_languages: Sequence[str],
    language_sizes: Mapping[str, int],
    ranks: RankRange,
    *,
    by_words: bool = False,
) -> list[LanguageStanding]:
    """Return ``standings`` hit by hit."""
    return standings(scores, passage_languages, language_sizes, ranks, by_words=by_words).each()
