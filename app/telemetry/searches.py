"""Counts searches and the probabilities that they state."""

from __future__ import annotations

from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import Counter, Histogram, Summary

from app.core.languages.codes import Relation, primary_language, relation_of
from app.telemetry import catalogue
from app.telemetry.instruments import Instruments, observe_all
from app.telemetry.labels import (
    DECISIONS,
    OTHER,
    POSITIONS,
    RELATIONS,
    STAGES,
    Position,
    position_of,
)


class ShownHit(NamedTuple):
    """One hit of an answer.

    Attributes:
        rank: Position in the whole answer, from 1.
        score: Its cosine.
        language: Of the passage, BCP-47.
        probabilities: Id of a calibrator to what it states: the active one, and a shadow.
        extrapolated: Whether the active calibrator says so.
    """

    rank: int
    score: float
    language: str
    probabilities: Mapping[str, float]
    extrapolated: bool = False


class _CalibratorSeries:
    """What is counted of the statements of one calibrator."""

    def __init__(self, instruments: Instruments, calibrator: str) -> None:
        self._instruments = instruments
        self._calibrator = calibrator
        self.probability = {
            (relation, position): instruments.distribution(
                catalogue.HIT_PROBABILITY, calibrator, relation, position
            )
            for relation in RELATIONS
            for position in POSITIONS
        }
        self.expected = {
            relation: instruments.counter(catalogue.EXPECTED_RELEVANT, calibrator, relation)
            for relation in RELATIONS
        }
        self.extrapolated = instruments.counter(catalogue.EXTRAPOLATED, calibrator)

    def end(self) -> None:
        for relation, position in self.probability:
            self._instruments.end(catalogue.HIT_PROBABILITY, self._calibrator, relation, position)
        for relation in RELATIONS:
            self._instruments.end(catalogue.EXPECTED_RELEVANT, self._calibrator, relation)
        self._instruments.end(catalogue.EXTRAPOLATED, self._calibrator)


class SearchMetrics:
    """Records searches."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._stages = {
            stage: instruments.distribution(catalogue.STAGE_DURATION, stage) for stage in STAGES
        }
        self._queries: dict[tuple[str, str], Counter] = {}
        self._scores: dict[Relation, Histogram | Summary] = {}
        self._language_scores: dict[tuple[str, Relation], Histogram | Summary] = {}
        self._calibrators: dict[str, _CalibratorSeries] = {}

    def serves(self, *, encoder: str, languages: Sequence[str], calibrators: Sequence[str]) -> None:
        """Make the series of what is served from now on; those of other calibrators end.

        Args:
            encoder: Its fingerprint.
            languages: Values of ``query_lang``, ``other`` among them.
            calibrators: Ids of those whose probabilities are recorded.
        """
        make = self._instruments
        self._queries = {
            (language, decision): make.counter(catalogue.QUERIES, language, decision)
            for language in languages
            for decision in DECISIONS
        }
        self._scores = {
            relation: make.distribution(catalogue.HIT_SCORE, encoder, relation)
            for relation in RELATIONS
        }
        self._language_scores = {
            (language, relation): make.distribution(
                catalogue.LANGUAGE_HIT_SCORE, encoder, language, relation
            )
            for language in languages
            for relation in RELATIONS
        }
        for gone in self._calibrators.keys() - set(calibrators):
            self._calibrators.pop(gone).end()
        for calibrator in calibrators:
            if calibrator not in self._calibrators:
                self._calibrators[calibrator] = _CalibratorSeries(make, calibrator)

    def answered(
        self,
        *,
        query_language: str,
        decision: str,
        stage_milliseconds: Mapping[str, float],
        hits: Iterable[ShownHit],
    ) -> None:
        """Count one search.

        Args:
            query_language: The most likely one, BCP-47.
            decision: One of ``DECISIONS``.
            stage_milliseconds: Stage, one of ``STAGES``, to its time in milliseconds.
            hits: Those that are returned.
        """
        language = primary_language(query_language)
        if (language, decision) not in self._queries:
            language = OTHER
        self._queries[language, decision].inc()
        for stage, milliseconds in stage_milliseconds.items():
            self._stages[stage].observe(milliseconds / 1e3)
        by_relation: defaultdict[Relation, list[ShownHit]] = defaultdict(list)
        for hit in hits:
            by_relation[relation_of(query_language, hit.language)].append(hit)
        for relation, shown in by_relation.items():
            scores = [hit.score for hit in shown]
            observe_all(self._scores[relation], scores)
            observe_all(self._language_scores[language, relation], scores)
            self._count_probabilities(shown, relation)

    def _count_probabilities(self, hits: Sequence[ShownHit], relation: Relation) -> None:
        stated: defaultdict[str, defaultdict[Position, list[float]]] = defaultdict(
            lambda: defaultdict(list)
        )
        extrapolated: Counts[str] = Counts()
        for hit in hits:
            position = position_of(hit.rank)
            for number, (calibrator, probability) in enumerate(hit.probabilities.items()):
                stated[calibrator][position].append(probability)
                if number == 0 and hit.extrapolated:
                    extrapolated[calibrator] += 1
        for calibrator, positions in stated.items():
            series = self._calibrators.get(calibrator)
            if series is None:  # a cursor may go on with an answer of one that has been replaced
                continue
            for position, probabilities in positions.items():
                observe_all(series.probability[relation, position], probabilities)
                series.expected[relation].inc(sum(probabilities))
            if extrapolated[calibrator]:
                series.extrapolated.inc(extrapolated[calibrator])
