"""Language bias among translations: passages with one ``parallel_id`` answer equally well.

So where their order follows the language, that is bias, whatever was asked. A finding is flagged
only where chance is ruled out: ``symmetric_z`` is taken once over distinct queries and once over
distinct groups of translations, because the same query asked again, or the same clumsy
translation met again, is no new evidence; the smaller one counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.core.languages.codes import primary_language
from app.core.languages.statistics import (
    advantages,
    kruskal_wallis,
    mean,
    symmetric_z,
    z_threshold,
)
from app.core.types import UNDETERMINED, Passage

TOP_RANKS = 10
"""A group of translations counts where one of them is among this many first candidates."""

FALSE_ALARMS = 0.001
"""Probability, at most, that a report raises a flag where there is no bias."""

MIN_ADVANTAGE = 0.1
"""Smallest mean advantage that is worth a flag, however certain it is."""

_ORDERS = 2
"""By score and by probability: both are looked at, so both count as comparisons."""


@dataclass(frozen=True, slots=True)
class RankedTranslations:
    """Translations among the candidates of one answer, in one order.

    Attributes:
        query: Names the query; the same text has the same name.
        query_language: Primary language of the query; ``None`` where it is not known.
        eligible: Primary languages that could have been found.
        candidates: How many passages were ranked.
        groups: Those near the top: ``parallel_id`` to primary language to rank, of the best one
            in that language.
    """

    query: int
    query_language: str | None
    eligible: frozenset[str]
    candidates: int
    groups: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Preference:
    """How translations in some language stood among the others.

    Attributes:
        queries: Number of distinct queries that could tell.
        groups: Number of distinct groups of translations that could tell.
        advantage: Mean place among the translations: 1 always first, -1 always last.
        z: The smaller ``symmetric_z``, over queries or over groups.
        flagged: Whether it is too far from 0 for chance, and large enough to matter.
    """

    queries: int
    groups: int
    advantage: float
    z: float
    flagged: bool


@dataclass(frozen=True, slots=True)
class ParallelBias:
    """How translations of one text were ordered.

    Attributes:
        comparisons: How often a group of translations was near the top of an answer.
        rank_distance: Mean of the last rank minus the first one within a group; one that was no
            candidate counts as coming right after them. Not comparable across corpora.
        relative_rank_distance: The same divided by the number of candidates.
        language_preference_rate: Share of groups whose first translation is in the query's
            language; ``None`` where no group has one.
        expected_language_preference_rate: What chance would make of it.
        peer: Mean p-value that ranks do not depend on the language (Yang et al. 2024): small
            where they do; ``None`` where no answer has two translations in each of two languages.
        same_language: Translations in the query's language; ``None`` where there are none.
        languages: Language to how it stood where the query was in another one.
        z_threshold: The |z| from which a preference is flagged.
        flagged: Whether any preference is.
    """

    comparisons: int
    rank_distance: float | None
    relative_rank_distance: float | None
    language_preference_rate: float | None
    expected_language_preference_rate: float | None
    peer: float | None
    same_language: Preference | None
    languages: Mapping[str, Preference]
    z_threshold: float
    flagged: bool


def ranked_translations(
    passages: Sequence[Passage],
    *,
    query: str,
    query_language: str | None,
    eligible: Iterable[str],
) -> RankedTranslations:
    """Return the translations among candidates that matter for language bias.

    Args:
        passages: All candidates, in the order that is looked at.
        query: The query text.
        query_language: Its primary language; ``None`` where it is not known.
        eligible: Languages of the passages that could have been found.
    """
    groups: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for rank, passage in enumerate(passages, start=1):
        if passage.parallel_id is None:
            continue
        language = primary_language(passage.language)
        if language != UNDETERMINED:
            groups[passage.parallel_id].setdefault(language, rank)
    return RankedTranslations(
        query=hash(query),
        query_language=query_language,
        eligible=frozenset(map(primary_language, eligible)),
        candidates=len(passages),
        groups={name: ranks for name, ranks in groups.items() if min(ranks.values()) <= TOP_RANKS},
    )


def parallel_bias(answers: Sequence[RankedTranslations]) -> ParallelBias:
    """Return how translations were ordered, over several answers.

    A translation that was met in any of the answers is known to exist, and where it was no
    candidate it comes last.
    """
    evidence = _Evidence()
    for answer, groups in _complete(answers):
        evidence.add(answer, groups)
    return evidence.verdict()


def _complete(
    answers: Sequence[RankedTranslations],
) -> Iterator[tuple[RankedTranslations, dict[str, dict[str, int]]]]:
    """Yield every answer with its groups of two or more, missing translations filled in."""
    known: defaultdict[str, set[str]] = defaultdict(set)
    for answer in answers:
        for parallel_id, ranks in answer.groups.items():
            known[parallel_id].update(ranks)
    for answer in answers:
        groups = {
            parallel_id: {
                language: ranks.get(language, answer.candidates + 1)
                for language in sorted(known[parallel_id] & answer.eligible)
            }
            for parallel_id, ranks in answer.groups.items()
        }
        yield answer, {name: ranks for name, ranks in groups.items() if len(ranks) > 1}


@dataclass(slots=True)
class _Tally:
    """Advantages of one language, summed by query and by group."""

    values: list[float] = field(default_factory=list)
    by_query: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    by_group: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, query: int, group: str, advantage: float) -> None:
        self.values.append(advantage)
        self.by_query[query] += advantage
        self.by_group[group] += advantage

    def preference(self, threshold: float) -> Preference:
        z = min(
            (symmetric_z(list(sums.values())) for sums in (self.by_query, self.by_group)), key=abs
        )
        advantage = float(np.mean(self.values))
        return Preference(
            queries=len(self.by_query),
            groups=len(self.by_group),
            advantage=advantage,
            z=z,
            flagged=abs(z) >= threshold and abs(advantage) >= MIN_ADVANTAGE,
        )


class _Evidence:
    def __init__(self) -> None:
        self._distances: list[float] = []
        self._relative_distances: list[float] = []
        self._own_first: list[float] = []
        self._expected_own_first: list[float] = []
        self._p_values: list[float] = []
        self._own = _Tally()
        self._languages: defaultdict[str, _Tally] = defaultdict(_Tally)

    def add(self, answer: RankedTranslations, groups: Mapping[str, Mapping[str, int]]) -> None:
        for name, ranks in groups.items():
            distance = max(ranks.values()) - min(ranks.values())
            self._distances.append(distance)
            self._relative_distances.append(distance / answer.candidates)
            self._add_own(answer, name, ranks)
            others = {code: n for code, n in ranks.items() if code != answer.query_language}
            if len(others) > 1:
                for language, advantage in advantages(others).items():
                    self._languages[language].add(answer.query, name, advantage)
        self._add_p_value(groups)

    def _add_own(self, answer: RankedTranslations, name: str, ranks: Mapping[str, int]) -> None:
        own = answer.query_language
        if own is None or own not in ranks:
            return
        self._own.add(answer.query, name, advantages(ranks)[own])
        first = [code for code, rank in ranks.items() if rank == min(ranks.values())]
        self._own_first.append(1.0 / len(first) if own in first else 0.0)
        self._expected_own_first.append(1.0 / len(ranks))

    def _add_p_value(self, groups: Mapping[str, Mapping[str, int]]) -> None:
        by_language: defaultdict[str, list[float]] = defaultdict(list)
        for ranks in groups.values():
            for language, rank in ranks.items():
                by_language[language].append(rank)
        samples = [np.array(ranks) for ranks in by_language.values() if len(ranks) > 1]
        if len(samples) > 1:
            self._p_values.append(kruskal_wallis(samples)[1])

    def verdict(self) -> ParallelBias:
        tallies = {code: self._languages[code] for code in sorted(self._languages)}
        own = [self._own] if self._own.values else []
        threshold = z_threshold(_ORDERS * (len(tallies) + len(own)), false_alarms=FALSE_ALARMS)
        same = self._own.preference(threshold) if own else None
        languages = {code: tally.preference(threshold) for code, tally in tallies.items()}
        found = [*languages.values(), *([same] if same else [])]
        return ParallelBias(
            comparisons=len(self._distances),
            rank_distance=mean(self._distances),
            relative_rank_distance=mean(self._relative_distances),
            language_preference_rate=mean(self._own_first),
            expected_language_preference_rate=mean(self._expected_own_first),
            peer=mean(self._p_values),
            same_language=same,
            languages=languages,
            z_threshold=threshold,
            flagged=any(preference.flagged for preference in found),
        )
