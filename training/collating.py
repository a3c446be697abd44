"""Makes the tensors of a batch from its rows.

All randomness (which two languages of a parallel row, which subwords are dropped) is a function
of the run's seed and the batch's own rows. It therefore does not depend on worker processes, and
a resumed run draws what the interrupted one would have drawn.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data_prepared import NO_TEXT, IntArray
from training.encoder import Side, TextReader

FloatArray = NDArray[np.float64]
VectorArray = NDArray[np.float32]
Row: TypeAlias = Mapping[str, int | str]
Batch: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class TeacherTable:
    """Vectors of the texts that the teacher has embedded.

    Attributes:
        row_of: (n_texts,) int32, row in ``vectors``, or -1.
        vectors: (n_rows, dim) float32, rows of norm 1.
    """

    row_of: IntArray
    vectors: VectorArray


def batch_rng(seed: int, numbers: IntArray) -> np.random.Generator:
    """Return a source of randomness that depends on the seed and the batch's numbers alone."""
    return np.random.default_rng((seed, zlib.crc32(np.ascontiguousarray(numbers).tobytes())))


def draw_two_languages(
    texts: IntArray,
    weights: FloatArray,
    rng: np.random.Generator,
    *,
    pivot: int | None = None,
    pivot_share: float | None = None,
) -> tuple[IntArray, IntArray]:
    """Draw two different languages of every parallel row, and return their texts.

    Languages are drawn without replacement with probability proportional to their weights (the
    Gumbel top-2 trick), in random order.

    Args:
        texts: (batch, n_languages) numbers of texts, ``NO_TEXT`` where there is none; at least
            two a row.
        weights: (n_languages,) relative probabilities, > 0.
        rng: Source of randomness.
        pivot: Column of the pivot language.
        pivot_share: Probability that the pivot is one of the two, where the row has it.

    Returns:
        Two arrays (batch,) of numbers of texts.
    """
    rows = np.arange(len(texts))
    preference = np.log(weights)[None, :] + rng.gumbel(size=texts.shape)
    if pivot is not None and pivot_share is not None:
        chosen = rng.random(len(texts)) < pivot_share
        preference[:, pivot] = np.where(chosen, np.inf, -np.finfo(np.float64).max)
    preference[texts == NO_TEXT] = -np.inf
    ranked = np.argsort(-preference, axis=1)[:, :2]
    swapped = rng.random(len(texts)) < 0.5
    first = np.where(swapped, ranked[:, 1], ranked[:, 0])
    second = np.where(swapped, ranked[:, 0], ranked[:, 1])
    return texts[rows, first], texts[rows, second]


def _numbers(rows: Sequence[Row], name: str) -> IntArray:
    return np.fromiter((int(row[name]) for row in rows), np.int32, len(rows))


def _columns(
    reader: TextReader, sides: Mapping[str, tuple[IntArray, Side]], rng: np.random.Generator
) -> Batch:
    """Return the features of both sides under the names that the trainer looks for."""
    return {
        f"{name}_{key}": value
        for name, (texts, side) in sides.items()
        for key, value in reader(texts, side, rng).items()
    }


class Collator(ABC):
    """Makes batches of rows for the trainer."""

    valid_label_columns: Sequence[str] = ()
    """Columns that the trainer should take as labels: none, the rows hold numbers only."""

    @abstractmethod
    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return the features of both sides, and ``label``."""


class PairCollator(Collator):
    """Question-passage rows, for ``HybridObjective``.

    Args:
        reader: Makes features of texts.
        seed: The run's.
    """

    def __init__(self, reader: TextReader, seed: int) -> None:
        self._reader = reader
        self._seed = seed

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return the features of both sides, and ``label``."""
        questions, passages = _numbers(rows, "question"), _numbers(rows, "passage")
        rng = batch_rng(self._seed, questions)
        sides: dict[str, tuple[IntArray, Side]] = {
            "question": (questions, "query"),
            "passage": (passages, "passage"),
        }
        keys = torch.from_numpy(np.stack([questions, passages], axis=1))
        return {**_columns(self._reader, sides, rng), "label": {"keys": keys}}


class AlignCollator(Collator):
    """Parallel rows, for ``AlignObjective``.

    Args:
        reader: Makes features of texts.
        texts: (n_rows, n_languages) numbers of texts of all parallel rows.
        weights: (n_languages,) how much more often a language is drawn.
        seed: The run's.
        pivot: Column of the teacher's language; ``None`` if the run does not have it.
        pivot_share: See ``draw_two_languages``.
        teacher: The teacher's vectors, by text of the pivot language.
    """

    def __init__(  # noqa: PLR0913 - what a batch is made of
        self,
        reader: TextReader,
        texts: IntArray,
        weights: FloatArray,
        seed: int,
        *,
        pivot: int | None,
        pivot_share: float | None,
        teacher: TeacherTable | None,
    ) -> None:
        self._reader = reader
        self._texts = texts
        self._weights = weights
        self._seed = seed
        self._pivot = pivot
        self._pivot_share = pivot_share
        self._teacher = teacher

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return the features of both languages, and ``label``."""
        numbers = _numbers(rows, "row")
        rng = batch_rng(self._seed, numbers)
        texts = self._texts[numbers]
        first, second = draw_two_languages(
            texts, self._weights, rng, pivot=self._pivot, pivot_share=self._pivot_share
        )
        # Both prefixes of an encoder that has them are aligned: one side is read as a query.
        sides: dict[str, tuple[IntArray, Side]] = {
            "first": (first, "query"),
            "second": (second, "passage"),
        }
        keys = torch.from_numpy(np.stack([first, second], axis=1))
        label: dict[str, Tensor] = {"keys": keys, **self._taught(texts)}
        return {**_columns(self._reader, sides, rng), "label": label}

    def _taught(self, texts: IntArray) -> dict[str, Tensor]:
        """Return the teacher's part of the label; empty without a teacher."""
        if self._teacher is None or self._pivot is None:
            return {}
        pivots = texts[:, self._pivot]
        vector_rows = np.where(pivots == NO_TEXT, -1, self._teacher.row_of[pivots])
        taught = np.flatnonzero(vector_rows >= 0)
        return {
            "teacher": torch.from_numpy(self._teacher.vectors[vector_rows[taught]]),
            "has_teacher": torch.from_numpy(taught),
            "teacher_keys": torch.from_numpy(pivots[taught]),
        }


class MixedCollator(Collator):
    """Chooses the collator by the dataset a batch comes from.

    Args:
        by_dataset: Collators by the name of the dataset.
    """

    def __init__(self, by_dataset: Mapping[str, Collator]) -> None:
        self._by_dataset = by_dataset

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return what the dataset's collator returns, and ``dataset_name`` for the trainer."""
        name = str(rows[0]["dataset_name"])
        return {"dataset_name": name, **self._by_dataset[name](rows)}
