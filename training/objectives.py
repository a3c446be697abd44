"""What a batch is asked for: the modules that feed embeddings to the losses.

The trainer calls them with the features of the columns of a batch and with the collator's label,
and adds up the parts that they return.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from training.distributed import gather_rows
from training.gradient_cache import Features, embed
from training.losses import cosine_distance, info_nce, no_negatives, repeated, shortened

Labels = dict[str, Tensor]
Parts = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Passes:
    """How embeddings are made, and in how many dimensions they are judged.

    Attributes:
        mini_batch_size: See ``gradient_cache.embed``.
        nested: Numbers of leading dimensions that are judged too, with the weight of their loss:
            Matryoshka embeddings (Kusupati et al. 2022, arXiv:2205.13147, equation 1).
    """

    mini_batch_size: int | None = None
    nested: tuple[tuple[int, float], ...] = ()


class Objective(nn.Module, ABC):
    """Embeds the columns of a batch and returns the parts of its loss, weighted, by name.

    Where ``label`` holds ``counts``, (n_columns, n_processes), the embeddings of all processes are
    gathered first, and the rest of the label describes the rows of all of them.

    Args:
        model: The encoder.
        passes: How it embeds.
    """

    def __init__(self, model: SentenceTransformer, passes: Passes) -> None:
        super().__init__()
        self.model = model
        self._passes = passes

    def forward(self, features: Iterable[Features], labels: Labels) -> Parts:
        """Return the parts of the loss of a batch."""
        columns = embed(self.model, list(features), self._passes.mini_batch_size)
        if "counts" in labels:
            every = labels["counts"].tolist()
            columns = [gather_rows(c, counts) for c, counts in zip(columns, every, strict=True)]
        parts = self.parts(columns, labels)
        for dim, weight in self._passes.nested:
            fewer = self.parts([shortened(column, dim) for column in columns], labels)
            parts |= {f"{name}@{dim}": weight * value for name, value in fewer.items()}
        return parts

    @abstractmethod
    def parts(self, columns: Sequence[Tensor], labels: Labels) -> Parts:
        """Return the parts of the loss.

        Args:
            columns: Embeddings, (rows, dim) each, rows of norm 1; in fewer dimensions than the
                encoder has where Matryoshka embeddings are judged.
            labels: What the collator says about the rows.
        """


def _same_texts(keys: Tensor) -> Tensor:
    """Return which rows are no negatives of one another, (rows, rows) bool; keys are (rows, 2)."""
    return repeated(keys[:, 0]) | repeated(keys[:, 1])


class HybridObjective(Objective):
    """InfoNCE between questions and passages.

    Inputs: two columns of features, question then passage. ``label`` holds ``keys``, (batch, 2)
    integers that are equal for equal questions and for equal passages: such pairs are no
    negatives. ``HybridBatchSampler`` draws none; they are excluded here for other samplers.

    A third column holds hard negatives. ``label`` then holds ``negative_keys`` and
    ``negative_groups``, (n,) each, and ``groups``, (batch,), as ``no_negatives`` takes them.

    Args:
        model: The encoder.
        loss_temperature: See ``info_nce``.
        symmetric: See ``info_nce``.
        passes: See ``Objective``.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        loss_temperature: float,
        symmetric: bool,
        passes: Passes = Passes(),
    ) -> None:
        super().__init__(model, passes)
        self._loss_temperature = loss_temperature
        self._symmetric = symmetric

    def parts(self, columns: Sequence[Tensor], labels: Labels) -> Parts:
        """Return the loss under its name."""
        queries, passages, *more = columns
        loss = info_nce(
            queries,
            passages,
            loss_temperature=self._loss_temperature,
            symmetric=self._symmetric,
            excluded=_same_texts(labels["keys"]),
            negatives=(more[0], self._no_negatives(labels)) if more else None,
        )
        return {"hybrid": loss}

    def _no_negatives(self, labels: Labels) -> Tensor:
        return no_negatives(
            labels["negative_keys"],
            labels["keys"][:, 1],
            labels["negative_groups"],
            labels["groups"],
        )


class AlignObjective(Objective):
    """Parallel rows: two languages of a row near one another, and both near the teacher's vector.

    Inputs: two columns of features, the two languages. ``label`` holds ``keys`` as in
    ``HybridObjective``; ``teacher``, (n, dim) unit vectors of the rows that have one;
    ``has_teacher``, (n,) their positions in the batch; ``teacher_keys``, (n,) equal for equal
    teacher texts.

    Args:
        model: The encoder.
        w_distill: Weight of the teacher's part; 0 leaves it out.
        distill: ``contrastive`` or ``cosine``.
        distill_temperature: Divides the cosines of the contrastive part.
        w_contrast: Weight of InfoNCE between the two languages; 0 leaves it out.
        loss_temperature: Divides its cosines.
        passes: See ``Objective``.
    """

    def __init__(  # noqa: PLR0913 - one argument per key of the configuration's table
        self,
        model: SentenceTransformer,
        *,
        w_distill: float,
        distill: Literal["contrastive", "cosine"],
        distill_temperature: float,
        w_contrast: float,
        loss_temperature: float,
        passes: Passes = Passes(),
    ) -> None:
        super().__init__(model, passes)
        self._w_distill = w_distill
        self._distill = distill
        self._distill_temperature = distill_temperature
        self._w_contrast = w_contrast
        self._loss_temperature = loss_temperature

    def parts(self, columns: Sequence[Tensor], labels: Labels) -> Parts:
        """Return the parts of the loss, weighted, under their names."""
        first, second = columns
        parts = {}
        if self._w_contrast:
            parts["contrast"] = self._w_contrast * info_nce(
                first,
                second,
                loss_temperature=self._loss_temperature,
                excluded=_same_texts(labels["keys"]),
            )
        if self._w_distill:
            rows = labels["has_teacher"]
            parts["distill"] = self._w_distill * self._distance((first[rows], second[rows]), labels)
        return parts

    def _distance(self, sides: tuple[Tensor, Tensor], labels: Labels) -> Tensor:
        """Return the mean distance of both sides to the teacher; 0 where no row has one."""
        target = shortened(labels["teacher"], sides[0].shape[1])
        if not len(target):
            return sides[0].sum() * 0.0
        if self._distill == "cosine":
            return (cosine_distance(sides[0], target) + cosine_distance(sides[1], target)) / 2
        excluded = repeated(labels["teacher_keys"])
        temperature = self._distill_temperature
        both = [
            info_nce(side, target, loss_temperature=temperature, excluded=excluded)
            for side in sides
        ]
        return (both[0] + both[1]) / 2
