"""The batch samplers of the trainer: hybrid batches, align batches, and a mixture of both.

They give what ``training.drawing`` draws the interface that sentence-transformers asks of
``batch_sampler``. Everything is decided by (seed, epoch), so that a resumed run draws the batches
that the interrupted one would have drawn.
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
    FloatArray,
    HybridDraw,
    HybridSettings,
    IntArray,
    PairRows,
)


class DrawnBatchSampler(DefaultBatchSampler, ABC):
    """Gives a draw the interface that the trainer knows: length, epochs, position.

    Args:
        dataset: What to draw from.
        batch_size: Longest batch.
        seed: With the epoch, decides every batch.
        n_batches: Number of batches in an epoch; as many as the dataset fills by default.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, *, seed: int = 0, n_batches: int | None = None
    ) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=False, seed=seed)
        self.n_batches = n_batches or max(1, len(dataset) // batch_size)

    @abstractmethod
    def draw(self) -> Iterator[list[int]]:
        """Return the endless sequence of this epoch, from its beginning."""

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of this epoch."""
        return self.iter_from(0)

    def iter_from(self, position: int) -> Iterator[list[int]]:
        """Yield the batches of this epoch that follow the first ``position`` ones."""
        return itertools.islice(self.draw(), position, self.n_batches)

    def __len__(self) -> int:
        return self.n_batches


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
            ``query_language``, ``passage_language`` and ``group``, and perhaps ``weight``.
        batch_size: Longest batch.
        settings: How batches are drawn.
        seed: See ``DrawnBatchSampler``.
        n_batches: See there.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        settings: HybridSettings,
        *,
        seed: int = 0,
        n_batches: int | None = None,
    ) -> None:
        super().__init__(dataset, batch_size, seed=seed, n_batches=n_batches)
        self._settings = settings
        self._rows = PairRows(
            question=_column(dataset, "question"),
            query_language=_column(dataset, "query_language"),
            passage_language=_column(dataset, "passage_language"),
            group=_column(dataset, "group"),
            weight=_weights(dataset),
        )
        self.draw()

    def draw(self) -> Iterator[list[int]]:
        """Return this epoch's endless sequence of hybrid batches."""
        seed = (self.seed, self.epoch)
        return iter(HybridDraw(self._rows, self._settings, batch_size=self.batch_size, seed=seed))


class AlignBatchSampler(DrawnBatchSampler):
    """Batches of parallel rows over a dataset with integer columns ``source`` and ``group``.

    Args:
        dataset: See above.
        batch_size: Longest batch.
        shares: See ``AlignDraw``.
        seed: See ``DrawnBatchSampler``.
        n_batches: See there.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        shares: Mapping[int, float],
        *,
        seed: int = 0,
        n_batches: int | None = None,
    ) -> None:
        super().__init__(dataset, batch_size, seed=seed, n_batches=n_batches)
        self._source = _column(dataset, "source")
        self._group = _column(dataset, "group")
        self._shares = shares
        self.draw()

    def draw(self) -> Iterator[list[int]]:
        """Return this epoch's endless sequence of align batches."""
        seed = (self.seed, self.epoch)
        size, shares = self.batch_size, self._shares
        return iter(AlignDraw(self._source, self._group, shares=shares, batch_size=size, seed=seed))


class MixedBatchSampler(MultiDatasetDefaultBatchSampler):
    """Draws every batch from one of two datasets.

    Args:
        first: Sampler of the first dataset.
        second: Sampler of the second dataset.
        dataset: Both datasets, one after the other.
        second_share: Probability that a batch is of the second dataset.
        seed: Decides which dataset is next.
        n_batches: Number of batches in an epoch.
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
        super().__init__(dataset, [first, second], seed=seed)
        self._draws = (first.draw, second.draw)
        self._offsets = (0, dataset.cumulative_sizes[0])
        self._second_share = second_share
        self._n_batches = n_batches

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of this epoch, as positions in the concatenated dataset."""
        rng = np.random.default_rng((self.seed, self.epoch, 1))
        draws = [draw() for draw in self._draws]
        for _ in range(self._n_batches):
            which = int(rng.random() < self._second_share)
            yield [row + self._offsets[which] for row in next(draws[which])]

    def __len__(self) -> int:
        return self._n_batches


TrainerSampler: TypeAlias = Callable[..., DrawnBatchSampler]


def hybrid_batch_sampler(
    settings: HybridSettings, *, n_batches: int | None = None
) -> TrainerSampler:
    """Return hybrid batches in the form that ``batch_sampler`` of the training arguments takes."""

    def build(
        dataset: Dataset, batch_size: int, *, seed: int = 0, **_: object
    ) -> DrawnBatchSampler:
        # drop_last, label columns and torch generator have no meaning here: every batch is drawn
        # anew from (seed, epoch).
        return HybridBatchSampler(dataset, batch_size, settings, seed=seed, n_batches=n_batches)

    return build
