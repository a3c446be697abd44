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
from training.distributed import World
from training.encoder import Side, TextReader
from training.text_choice import HardNegatives, SideChoice

FloatArray = NDArray[np.float64]
VectorArray = NDArray[np.float32]
Row: TypeAlias = Mapping[str, int | str]
Batch: TypeAlias = dict[str, object]
ALONE = World()


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


def _numbers(rows: Sequence[Row], name: str) -> IntArray:
    return np.fromiter((int(row[name]) for row in rows), np.int32, len(rows))


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """The texts of one column of a batch.

    Attributes:
        texts: (n,) numbers of texts, over all processes.
        side: Decides the prefix.
        parts: Positions of the texts that each process reads; one for all where every process has
            texts of its own.
        dropout: See ``TextReader``.
    """

    texts: IntArray
    side: Side
    parts: Sequence[slice]
    dropout: FloatArray | None = None


class Collator(ABC):
    """Makes batches of rows for the trainer.

    The rows are those of all processes: everything random is drawn for all of them, so that a
    batch does not depend on how many processes share it, and then the process's part is read.

    Args:
        reader: Makes features of texts.
        seed: The run's.
        world: The processes that share a batch.
    """

    valid_label_columns: Sequence[str] = ()
    """Columns that the trainer should take as labels: none, the rows hold numbers only."""

    def __init__(self, reader: TextReader, seed: int, world: World = ALONE) -> None:
        self._reader = reader
        self._seed = seed
        self._world = world

    @abstractmethod
    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return the features of every column, and ``label``.

        The label describes the rows that the loss is computed over. Where these are the rows of
        all processes, it also holds ``counts``, (n_columns, n_processes): how many texts of a
        column each process embeds.
        """

    def _batch(
        self, columns: Mapping[str, _Column], label: dict[str, Tensor], rng: np.random.Generator
    ) -> Batch:
        """Return the features under the names that the trainer looks for, and the label."""
        batch: Batch = {}
        for name, column in columns.items():
            mine = column.parts[self._world.rank if len(column.parts) > 1 else 0]
            features = self._reader(
                column.texts, column.side, rng, part=mine, dropout=column.dropout
            )
            batch |= {f"{name}_{key}": value for key, value in features.items()}
        if self._world.shared:
            counts = [[p.stop - p.start for p in column.parts] for column in columns.values()]
            label = {**label, "counts": torch.tensor(counts)}
        return {**batch, "label": label}


class PairCollator(Collator):
    """Question-passage rows, for ``HybridObjective``.

    Args:
        reader: See ``Collator``.
        seed: See there.
        world: See there.
        negatives: Makes a third column of hard negatives. Those of the passage's entry are
            taken, so that they are in the language of the passage.
    """

    def __init__(
        self,
        reader: TextReader,
        seed: int,
        world: World = ALONE,
        negatives: HardNegatives | None = None,
    ) -> None:
        super().__init__(reader, seed, world)
        self._negatives = negatives

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return the features of both sides and of hard negatives, and ``label``."""
        questions, passages = _numbers(rows, "question"), _numbers(rows, "passage")
        rng = batch_rng(self._seed, questions)
        parts, judged = self._world.parts(len(rows)), self._world.judged(len(rows))
        columns = {
            "question": _Column(questions, "query", parts),
            "passage": _Column(passages, "passage", parts),
        }
        keys = np.stack([questions, passages], axis=1)[judged]
        label = {"keys": torch.from_numpy(keys)}
        if self._negatives is not None:
            drawn = self._negatives.draw(_numbers(rows, "entry"), rng)[judged]
            columns["negative"], more = self._against(drawn, keys[:, 1], self._negatives.group_of)
            label |= more
        return self._batch(columns, label, rng)

    def _against(
        self, drawn: IntArray, passages: IntArray, group_of: IntArray
    ) -> tuple[_Column, dict[str, Tensor]]:
        """Return the column of hard negatives, and what the label says of it."""
        texts = np.unique(drawn[drawn != NO_TEXT])
        # Every process embeds at least one text, or the others would wait for it. A passage of
        # the batch does for that: the loss takes none of them twice.
        missing = max(0, (self._world.size if self._world.shared else 1) - len(texts))
        texts = np.concatenate([texts, np.resize(passages, missing)]).astype(np.int32)
        n = len(texts)
        parts = self._world.parts(n) if self._world.shared else [slice(0, n)]
        label = {
            "groups": torch.from_numpy(group_of[passages]),
            "negative_keys": torch.from_numpy(texts),
            "negative_groups": torch.from_numpy(group_of[texts]),
        }
        return _Column(texts, "passage", parts), label


class AlignCollator(Collator):
    """Parallel rows, for ``AlignObjective``.

    Args:
        reader: See ``Collator``.
        seed: See there.
        world: See there.
        texts: (n_rows, n_languages) numbers of texts of all parallel rows.
        choice: Which two of them a batch holds.
        dropout: The reader's own probability that a subword is left out.
        teacher: The teacher's vectors, by text of the pivot language.
    """

    def __init__(  # noqa: PLR0913 - what a batch is made of
        self,
        reader: TextReader,
        seed: int,
        world: World = ALONE,
        *,
        texts: IntArray,
        choice: SideChoice,
        dropout: float = 0.0,
        teacher: TeacherTable | None = None,
    ) -> None:
        super().__init__(reader, seed, world)
        self._texts = texts
        self._choice = choice
        self._dropout = dropout
        self._teacher = teacher

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return the features of both languages, and ``label``."""
        numbers = _numbers(rows, "row")
        rng = batch_rng(self._seed, numbers)
        texts = self._texts[numbers]
        first, second, same = self._choice.draw(texts, rng)
        parts, judged = self._world.parts(len(rows)), self._world.judged(len(rows))
        # Both prefixes of an encoder that has them are aligned: one side is read as a query.
        columns = {
            "first": _Column(first, "query", parts, self._left_out(same, whole=False)),
            "second": _Column(second, "passage", parts, self._left_out(same, whole=True)),
        }
        keys = torch.from_numpy(np.stack([first, second], axis=1)[judged])
        return self._batch(columns, {"keys": keys, **self._taught(texts[judged])}, rng)

    def _left_out(self, same: NDArray[np.bool_], *, whole: bool) -> FloatArray | None:
        """Return the dropout of every text of a side; ``None`` leaves it to the reader."""
        partial = self._choice.partial
        if not partial.share or not partial.dropout:
            return None
        return np.where(same, 0.0 if whole else partial.dropout, self._dropout)

    def _taught(self, texts: IntArray) -> dict[str, Tensor]:
        """Return the teacher's part of the label; empty without a teacher."""
        if self._teacher is None or self._choice.pivot is None:
            return {}
        pivots = texts[:, self._choice.pivot]
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
        # The base class has nothing to do here: each of the collators knows its own.
        self._by_dataset = by_dataset

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return what the dataset's collator returns, and ``dataset_name`` for the trainer."""
        name = str(rows[0]["dataset_name"])
        return {"dataset_name": name, **self._by_dataset[name](rows)}
