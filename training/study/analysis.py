"""Compares the cells of a study: differences with intervals, resampled by parallel question.

A cell is a set of sums by parallel question. A replicate draws questions with replacement, the same
ones in every cell, so that differences between cells are paired; the calibrators stay as fitted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.core.types import BoolArray, FloatArray
from training.metrics.bootstrap import cluster_weights
from training.study.calibrators import ENGLISH, METHODS, OWN
from training.study.cells import Cell, cell_directory, grid
from training.study.config import Study
from training.study.outcomes import RETRIEVAL
from training.study.work import CELL, SUMS

Relation = Literal["same", "cross"]
SumArray = NDArray[np.float32]
_TAILS = (2.5, 97.5)


@dataclass(frozen=True, slots=True, eq=False)
class FinishedCell:
    """A cell with what it has measured.

    Attributes:
        cell: Which one.
        document: ``cell.json``.
        sums: ``sums.npz``.
    """

    cell: Cell
    document: Mapping[str, Any]
    sums: Mapping[str, SumArray]


def finished_cells(study: Study, out: Path) -> list[FinishedCell]:
    """Return the cells that have a result, in the order of the grid."""
    found = []
    for cell in grid(study):
        directory = cell_directory(study, out, cell)
        if (directory / CELL).is_file():
            document = json.loads((directory / CELL).read_text(encoding="utf-8"))
            with np.load(directory / SUMS, allow_pickle=False) as archive:
                sums = {name: archive[name] for name in archive.files}
            found.append(FinishedCell(cell, document, sums))
    return found


@dataclass(frozen=True, slots=True)
class Contrast:
    """A difference, averaged over seeds.

    Attributes:
        value: Mean over seeds.
        low: Lower end of its 95 % interval.
        high: Upper end.
        seeds: The difference of each seed.
        pairs: Number of language pairs it is a mean of; 0 where it is no mean of pairs.
    """

    value: float
    low: float
    high: float
    seeds: tuple[float, ...]
    pairs: int = 0

    @property
    def sign(self) -> int:
        """1 or -1 where interval and seeds all agree on it, else 0."""
        values = (self.low, self.high, *self.seeds)
        return 1 if min(values) > 0 else -1 if max(values) < 0 else 0

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of this contrast."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "seeds": list(self.seeds),
            "pairs": self.pairs,
        }


Measure = Callable[[FinishedCell], FloatArray]
"""A number of a cell with its replicates, (1 + replicates,), the number itself first."""


class Resampled:
    """Numbers of cells with replicates.

    Args:
        languages: Codes, in the order of their numbers.
        english: The language whose labels zero-shot calibration has.
        clusters: Number of parallel questions.
        replicates: Number of bootstrap replicates.
    """

    def __init__(
        self, languages: Sequence[str], english: str, clusters: int, replicates: int
    ) -> None:
        drawn = cluster_weights(clusters, replicates=replicates)
        # float32: two hundred thousand sums a cell are kept, and none needs more digits.
        self._weights = np.concatenate([np.ones((1, clusters)), drawn]).astype(np.float32)
        query, passage = np.divmod(np.arange(len(languages) ** 2), len(languages))
        self._same: BoolArray = query == passage
        self._english = (query == passage) & (query == list(languages).index(english))
        self._totals = lru_cache(maxsize=None)(self._add_up)

    def gaps(self, cell: FinishedCell, protocol: str) -> FloatArray:
        """Return the zero-shot calibration gap of every pair, (1 + replicates, pairs)."""
        return self._mean_loss(cell, protocol, ENGLISH) - self._mean_loss(cell, protocol, OWN)

    def in_relation(self, relation: Relation) -> BoolArray:
        """Return which pairs belong to a relation; English with itself is no zero-shot pair."""
        return ~self._same if relation == "cross" else self._same & ~self._english

    def gap(self, protocol: str, relation: Relation, common: BoolArray) -> Measure:
        """Return the mean gap over the pairs of a relation that ``common`` holds too."""
        mask = self.in_relation(relation) & common
        return lambda cell: _mean(self.gaps(cell, protocol)[:, mask])

    def nll(self, protocol: str, method: str, relation: Relation) -> Measure:
        """Return the mean over the pairs of a relation of their mean loss."""
        mask = self.in_relation(relation)
        return lambda cell: _mean(self._mean_loss(cell, protocol, method)[:, mask])

    def log_ratio(self, protocol: str, method: str, relation: Relation) -> Measure:
        """Return log(E/O) over all hits of a relation."""
        mask = self._same if relation == "same" else ~self._same
        number = METHODS.index(method)

        def measure(cell: FinishedCell) -> FloatArray:
            expected = self._totals(cell, f"{protocol}/expected", number)[:, mask].sum(axis=1)
            relevant = self._totals(cell, f"{protocol}/relevant", None)[:, mask].sum(axis=1)
            ratio: FloatArray = np.log(expected / relevant)
            return ratio

        return measure

    def retrieval(self, name: str) -> Measure:
        """Return the mean over query languages of a retrieval metric."""
        number = RETRIEVAL.index(name)

        def measure(cell: FinishedCell) -> FloatArray:
            sums = self._totals(cell, "retrieval/sums", number)
            counts = self._totals(cell, "retrieval/counts", number)
            return _mean((sums / counts).astype(np.float64))

        return measure

    def common_pairs(self, cells: Sequence[FinishedCell], protocol: str) -> BoolArray:
        """Return which pairs have a gap in all of some cells."""
        finite = [np.isfinite(self.gaps(cell, protocol)[0]) for cell in cells]
        common: BoolArray = np.logical_and.reduce(finite)
        return common

    def _mean_loss(self, cell: FinishedCell, protocol: str, method: str) -> FloatArray:
        loss = self._totals(cell, f"{protocol}/loss", METHODS.index(method))
        count = self._totals(cell, f"{protocol}/count", None)
        with np.errstate(divide="ignore", invalid="ignore"):  # a pair that nobody was served
            return (loss / count).astype(np.float64)

    def _add_up(self, cell: FinishedCell, name: str, number: int | None) -> SumArray:
        table = cell.sums[name] if number is None else cell.sums[name][number]
        total: SumArray = self._weights @ table
        return total


def _mean(values: FloatArray) -> FloatArray:
    used = np.isfinite(values)
    count = used.sum(axis=1)
    total = np.where(used, values, 0.0).sum(axis=1)
    result: FloatArray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return result


def estimate(cells: Sequence[FinishedCell], measure: Measure) -> Contrast:
    """Return the mean of a measure over cells that differ in their seed, with its interval."""
    return _summary([measure(cell) for cell in cells])


def contrast(
    pairs: Sequence[tuple[FinishedCell, FinishedCell]], measure: Measure, *, count: int = 0
) -> Contrast:
    """Return the mean over seeds of ``measure(first) - measure(second)``.

    Args:
        pairs: Cells of one seed each.
        measure: What is compared.
        count: Number of language pairs that the measure is a mean of.
    """
    return _summary([measure(first) - measure(second) for first, second in pairs], count)


def _summary(rows: Sequence[FloatArray], count: int = 0) -> Contrast:
    stacked = np.array(rows)
    mean = stacked.mean(axis=0)
    replicates = mean[1:][np.isfinite(mean[1:])]
    low, high = np.percentile(replicates, _TAILS) if len(replicates) else (np.nan, np.nan)
    seeds = tuple(float(value) for value in stacked[:, 0])
    return Contrast(float(mean[0]), float(low), float(high), seeds, count)
