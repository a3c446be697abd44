"""Counts feedback, so that sums over any window and any number of processes give the calibration.

Every counter is additive. Bins go by the probability that was stated when the hit was served:
a late label still counts for the right calibrator.

A label that is changed or taken back has to leave the sums again, and a counter cannot go down. So
what it added is owed, and set off against the next labels of the same series: right in the end,
and never more than those few labels off before. Pairs of series, one for what
came and one for what went, would be half as many series again, and rules that are harder to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import Counter

from app.core.languages.codes import Relation, primary_language
from app.telemetry import catalogue
from app.telemetry.catalogue import Spec
from app.telemetry.instruments import Instruments
from app.telemetry.labels import (
    BINS,
    FEEDBACK_SOURCES,
    LABEL_SOURCES,
    OTHER,
    POSITIONS,
    REJECTIONS,
    RELATIONS,
    REVISIONS,
    LabelSource,
    bin_of,
    position_of,
)

_BINNED = (
    catalogue.FEEDBACK_HITS,
    catalogue.FEEDBACK_RELEVANT,
    catalogue.FEEDBACK_PROBABILITY,
    catalogue.FEEDBACK_VARIANCE,
    catalogue.FEEDBACK_BRIER,
)
_BY_LANGUAGE = (
    catalogue.LANGUAGE_FEEDBACK_HITS,
    catalogue.LANGUAGE_FEEDBACK_RELEVANT,
    catalogue.LANGUAGE_FEEDBACK_PROBABILITY,
    catalogue.LANGUAGE_FEEDBACK_VARIANCE,
    catalogue.LANGUAGE_FEEDBACK_BRIER,
)


@dataclass(frozen=True, slots=True)
class LabelledHit:
    """A label, with what was stated of the hit.

    Attributes:
        calibrator: Id of the calibrator that stated the probability.
        probability: What it stated.
        relevant: The label.
        relation: Of query and passage language.
        query_language: BCP-47.
        source: Who says so.
    """

    calibrator: str
    probability: float
    relevant: bool
    relation: Relation
    query_language: str
    source: LabelSource


class _Sums:
    """Five counters with the same labels: n, sum y, sum p, sum p(1-p), sum (p-y)^2."""

    def __init__(self, instruments: Instruments, specs: Sequence[Spec], *labels: str) -> None:
        self._instruments = instruments
        self._specs = specs
        self._labels = labels
        self._counters: list[Counter] = [instruments.counter(spec, *labels) for spec in specs]
        self._owed = [0.0] * len(specs)

    def add(self, probability: float, *, relevant: bool) -> None:
        for place, amount in enumerate(_parts(probability, relevant=relevant)):
            left = amount - self._owed[place]
            self._owed[place] = max(0.0, -left)
            self._counters[place].inc(max(0.0, left))

    def take_back(self, probability: float, *, relevant: bool) -> None:
        for place, amount in enumerate(_parts(probability, relevant=relevant)):
            self._owed[place] += amount

    def end(self) -> None:
        for spec in self._specs:
            self._instruments.end(spec, *self._labels)


def _parts(p: float, *, relevant: bool) -> tuple[float, ...]:
    """Return what a label adds to each of the five counters."""
    y = float(relevant)
    return 1.0, y, p, p * (1.0 - p), (p - y) ** 2


class FeedbackMetrics:
    """Records feedback."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._delay = {
            source: instruments.distribution(catalogue.FEEDBACK_DELAY, source)
            for source in FEEDBACK_SOURCES
        }
        self._rejected = {
            reason: instruments.counter(catalogue.FEEDBACK_REJECTED, reason)
            for reason in REJECTIONS
        }
        self._clicks = {
            position: instruments.counter(catalogue.FEEDBACK_CLICKS, position)
            for position in POSITIONS
        }
        self._revised = {
            change: instruments.counter(catalogue.FEEDBACK_REVISED, change) for change in REVISIONS
        }
        self._untracked = instruments.counter(catalogue.FEEDBACK_UNTRACKED)
        self._binned: dict[str, dict[tuple[str, int, str], _Sums]] = {}
        self._by_language: dict[str, dict[tuple[str, str], _Sums]] = {}

    def serves(
        self, *, languages: Sequence[str], active: str | None, other: str | None = None
    ) -> None:
        """Make the series of the calibrators that are told apart; those of others end.

        Args:
            languages: Values of ``query_lang``, ``other`` among them.
            active: Id of the calibrator that states probabilities.
            other: One more: a shadow, or the one that was active before.
        """
        wanted = {calibrator for calibrator in (active, other) if calibrator is not None}
        for gone in self._binned.keys() - wanted:
            _end(self._binned.pop(gone))
        for calibrator in wanted - self._binned.keys():
            self._binned[calibrator] = {
                (relation, tenth, source): _Sums(
                    self._instruments, _BINNED, calibrator, relation, str(tenth), source
                )
                for relation in RELATIONS
                for tenth in range(BINS)
                for source in LABEL_SOURCES
            }
        for gone in self._by_language.keys() - {active}:
            _end(self._by_language.pop(gone))
        if active is not None and active not in self._by_language:
            self._by_language[active] = {
                (language, relation): _Sums(
                    self._instruments, _BY_LANGUAGE, active, language, relation
                )
                for language in languages
                for relation in RELATIONS
            }

    def labelled(self, hit: LabelledHit) -> None:
        """Count a label of a hit."""
        found = self._sums_of(hit)
        if not found:
            self._untracked.inc()
        for sums in found:
            sums.add(hit.probability, relevant=hit.relevant)

    def withdrawn(self, hit: LabelledHit) -> None:
        """Have a label that was counted leave the sums, with the next ones of its series."""
        for sums in self._sums_of(hit):
            sums.take_back(hit.probability, relevant=hit.relevant)

    def revised(self, change: str) -> None:
        """Count a label that ended, by one of ``REVISIONS``."""
        self._revised[change].inc()

    def _sums_of(self, hit: LabelledHit) -> list[_Sums]:
        """Return where a label counts; nowhere where its calibrator is not told apart."""
        binned = self._binned.get(hit.calibrator)
        if binned is None:
            return []
        found = [binned[hit.relation, bin_of(hit.probability), hit.source]]
        by_language = self._by_language.get(hit.calibrator)
        if by_language is not None:
            key = (primary_language(hit.query_language), hit.relation)
            found.append(by_language.get(key) or by_language[OTHER, hit.relation])
        return found

    def clicked(self, *, rank: int) -> None:
        """Count a click on the hit at a rank, from 1."""
        self._clicks[position_of(rank)].inc()

    def accepted(self, *, source: str, delay_seconds: float) -> None:
        """Count how late accepted feedback came, from one of ``FEEDBACK_SOURCES``."""
        self._delay[source].observe(max(0.0, delay_seconds))

    def rejected(self, reason: str) -> None:
        """Count feedback that was not accepted, for one of ``REJECTIONS``."""
        self._rejected[reason].inc()


def _end(series: dict[tuple[str, int, str], _Sums] | dict[tuple[str, str], _Sums]) -> None:
    for sums in series.values():
        sums.end()
