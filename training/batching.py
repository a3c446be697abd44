"""The batch samplers of the trainer: hybrid batches, align batches, and a mixture of both.

They give what ``training.drawing`` draws the interface that sentence-transformers asks of
``batch_sampler``. Everything is decided by (seed, epoch), so that a resumed run draws the batches
that the interrupted one would have drawn.

Under torchrun every process draws the same global batches, with the rows of all processes, and the
collator takes the process's part. A sampler yields each batch once per process, because accelerate
hands the batches of a sampler to the processes in turn. (Its other way, ``split_batches``, leaves
out every batch that is shorter than the longest.)
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler, MultiDatasetDefaultBatchSampler
from torch.utils.data import ConcatDataset

from training.drawing import (
    AlignDraw,
    HybridDraw,
    HybridSettings,
    PairRows,
)
from training.errors import RunError
from training.pools import FloatArray, IntArray

_MOST_REFUSED = 1000


class DrawnBatchSampler(DefaultBatchSampler, ABC):
    """Gives a draw the interface that the trainer knows: length, epochs, position.

    Args:
        dataset: What to draw from.
        batch_size: Longest batch, over all processes.
        seed: With the epoch, decides every batch.
        n_batches: Number of batches in an epoch; as many as the dataset fills by default.
        n_processes: Number of processes that share every batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        seed: int = 0,
        n_batches: int | None = None,
        n_processes: int = 1,
    ) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=False, seed=seed)
        self.n_batches = n_batches or max(1, len(dataset) // batch_size)
        self.n_processes = n_processes
        self.n_rows = batch_size
        if n_processes > 1:
            # accelerate leaves out batches that are shorter than the size it reads here.
            self.batch_size = None  # type: ignore[assignment]  # torch knows fixed sizes only

    @abstractmethod
    def endless(self) -> Iterator[list[int]]:
        """Return the endless sequence of this epoch, from its beginning."""

    def draw(self) -> Iterator[list[int]]:
        """Yield the batches of the endless sequence in which every process has a row.

        Raises:
            RunError: There are none.
        """
        refused = 0
        for rows in self.endless():
            refused = 0 if len(rows) >= self.n_processes else refused + 1
            if refused == _MOST_REFUSED:
                raise RunError(
                    f"{_MOST_REFUSED} batches in turn had fewer rows than there are processes "
                    f"({self.n_processes}). Train on more data, or in fewer processes."
                )
            if not refused:
                yield rows

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of this epoch, each once per process."""
        return self.iter_from(0)

    def iter_from(self, position: int) -> Iterator[list[int]]:
        """Yield what follows the first ``position`` ones of ``__iter__``."""
        every = _for_processes(self.draw(), self.n_processes)
        return itertools.islice(every, position, len(self))

    def __len__(self) -> int:
        return self.n_batches * self.n_processes


def _for_processes(batches: Iterator[list[int]], n_processes: int) -> Iterator[list[int]]:
    return itertools.chain.from_iterable(itertools.repeat(b, n_processes) for b in batches)


def _column(dataset: Dataset, name: str) -> IntArray:
    return np.asarray(dataset.with_format("numpy")[name][:], dtype=np.int32)


def _weights(dataset: Dataset) -> FloatArray:
    if "weight" not in dataset.column_names:
        return np.ones(len(dataset))
    return np.asarray(dataset.with_format("numpy")["weight"][:], dtype=np.float64)


class HybridBatchSampler(DrawnBatchSampler):
    """Hybrid batches over a dataset.

    Args:
        dataset: With integer columns ``question`` (equal values are equal questions),
            ``query_language``, ``passage_language``, ``group`` and ``source``, and perhaps
            ``weight``.
        batch_size: Longest batch, over all processes.
        settings: How batches are drawn.
        seed: See ``DrawnBatchSampler``.
        n_batches: See there.
        n_processes: See there.
    """

    def __init__(  # noqa: PLR0913 - what is drawn from, and what the base class needs
        self,
        dataset: Dataset,
        batch_size: int,
        settings: HybridSettings,
        *,
        seed: int = 0,
        n_batches: int | None = None,
        n_processes: int = 1,
    ) -> None:
        super().__init__(
            dataset, batch_size, seed=seed, n_batches=n_batches, n_processes=n_processes
        )
        self._settings = settings
        self._rows = PairRows(
            question=_column(dataset, "question"),
            query_language=_column(dataset, "query_language"),
            passage_language=_column(dataset, "passage_language"),
            group=_column(dataset, "group"),
            source=_column(dataset, "source"),
            weight=_weights(dataset),
        )
        self.endless()

    def endless(self) -> Iterator[list[int]]:
        """Return this epoch's endless sequence of hybrid batches."""
        seed = (self.seed, self.epoch)
        return iter(HybridDraw(self._rows, self._settings, batch_size=self.n_rows, seed=seed))


class AlignBatchSampler(DrawnBatchSampler):
    """Batches of parallel rows over a dataset with integer columns ``source`` and ``group``.

    Args:
        dataset: See above.
        batch_size: Longest batch, over all processes.
        shares: See ``AlignDraw``.
        seed: See ``DrawnBatchSampler``.
        n_batches: See there.
        n_processes: See there.
        set_exponent: See ``AlignDraw``.
    """

    def __init__(  # noqa: PLR0913 - what is drawn from, and what the base class needs
        self,
        dataset: Dataset,
        batch_size: int,
        shares: Mapping[int, float],
        *,
        seed: int = 0,
        n_batches: int | None = None,
        n_processes: int = 1,
        set_exponent: float = 0.0,
    ) -> None:
        super().__init__(
            dataset, batch_size, seed=seed, n_batches=n_batches, n_processes=n_processes
        )
        self._source = _column(dataset, "source")
        self._group = _column(dataset, "group")
        self._shares = shares
        self._set_exponent = set_exponent
        self.endless()

    def endless(self) -> Iterator[list[int]]:
        """Return this epoch's endless sequence of align batches."""
        return iter(
            AlignDraw(
                self._source,
                self._group,
                shares=self._shares,
                batch_size=self.n_rows,
                set_exponent=self._set_exponent,
                seed=(self.seed, self.epoch),
            )
        )


class MixedBatchSampler(MultiDatasetDefaultBatchSampler):
    """Draws every batch from one of two datasets.

    Args:
        first: Sampler of the first dataset.
        second: Sampler of the second dataset.
        dataset: Both datasets, one after the other.
        second_share: Probability that a batch is of the second dataset.
        seed: Decides which dataset is next.
        n_batches: Number of batches in an epoch; each is yielded once per process.
    """

    def __init__(  # noqa: PLR0913 - two samplers, and what the base class needs
        self,
        first: DrawnBatchSampler,
        second: DrawnBatchSampler,
        *,
        dataset: ConcatDataset[object],
        second_share: float,
        seed: int,
        n_batches: int,
    ) -> None:
        # The base class reads a size here and wants a number; accelerate reads this sampler's.
        first.batch_size = first.n_rows
        super().__init__(dataset, [first, second], seed=seed)
        if first.n_processes > 1:
            self.batch_size = None  # type: ignore[assignment]  # as in DrawnBatchSampler
        self._n_processes = first.n_processes
        self._draws = (first.draw, second.draw)
        self._offsets = (0, dataset.cumulative_sizes[0])
        self._second_share = second_share
        self._n_batches = n_batches

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of this epoch, as positions in the concatenated dataset."""
        return _for_processes(self._drawn(), self._n_processes)

    def _drawn(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch, 1))
        draws = [draw() for draw in self._draws]
        for _ in range(self._n_batches):
            which = int(rng.random() < self._second_share)
            yield [row + self._offsets[which] for row in next(draws[which])]

    def __len__(self) -> int:
        return self._n_batches * self._n_processes


TrainerSampler: TypeAlias = Callable[..., DrawnBatchSampler]


def hybrid_batch_sampler(
    settings: HybridSettings, *, n_batches: int | None = None, n_processes: int = 1
) -> TrainerSampler:
    """Return hybrid batches in the form that ``batch_sampler`` of the training arguments takes.

    Args:
        settings: How they are drawn.
        n_batches: See ``DrawnBatchSampler``.
        n_processes: See there; the ``batch_size`` that the trainer gives is one process's.
    """

    def build(
        dataset: Dataset, batch_size: int, *, seed: int = 0, **_: object
    ) -> DrawnBatchSampler:
        # drop_last, label columns and torch generator have no meaning here: every batch is drawn
        # anew from (seed, epoch).
        return HybridBatchSampler(
            dataset,
            batch_size * n_processes,
            settings,
            seed=seed,
            n_batches=n_batches,
            n_processes=n_processes,
        )

    return build
