"""Contrastive losses as pure functions of embeddings, and the thin modules that feed them.

Source of InfoNCE: van den Oord et al. 2018, arXiv:1807.03748, equation 4, with cosines divided by
``loss_temperature`` as scores and the other members of the batch as negatives.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

Features = dict[str, Tensor]


def repeated(keys: Tensor) -> Tensor:
    """Return which pairs of different positions hold the same key.

    Args:
        keys: (batch,) integers.

    Returns:
        (batch, batch) bool, symmetric, False on the diagonal.
    """
    same = keys[:, None] == keys[None, :]
    same.fill_diagonal_(fill_value=False)
    return same


def info_nce(
    queries: Tensor,
    passages: Tensor,
    *,
    loss_temperature: float,
    symmetric: bool = True,
    excluded: Tensor | None = None,
) -> Tensor:
    """Return InfoNCE with in-batch negatives: passage k is right for query k alone.

    ``-log softmax(queries @ passages.T / loss_temperature)`` on the diagonal, averaged over the
    rows; ``symmetric`` averages it with the same over the columns.

    Args:
        queries: (batch, dim), rows of norm 1.
        passages: (batch, dim), rows of norm 1.
        loss_temperature: Divides the cosines, > 0.
        symmetric: Also ask for the right query of a passage.
        excluded: (batch, batch) bool, pairs that are no negatives, for example because two
            members have the same text; the diagonal must be False. Nothing is excluded otherwise.

    Returns:
        A scalar >= 0.
    """
    logits = queries @ passages.T / loss_temperature
    if excluded is not None:
        logits = logits.masked_fill(excluded, -torch.inf)
    right = torch.arange(len(logits), device=logits.device)
    loss = F.cross_entropy(logits, right)
    if symmetric:
        loss = (loss + F.cross_entropy(logits.T, right)) / 2
    return loss


def cosine_distance(embeddings: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of ``1 - cosine`` over rows; both (batch, dim), rows of norm 1."""
    return (1.0 - (embeddings * targets).sum(dim=1)).mean()


class HybridObjective(nn.Module):
    """InfoNCE between questions and passages.

    Inputs: two columns of features, question then passage. ``label`` holds ``keys``, (batch, 2)
    integers that are equal for equal questions and for equal passages: such pairs are no
    negatives. ``HybridBatchSampler`` draws none; they are excluded here for other samplers.

    Args:
        model: The encoder.
        loss_temperature: See ``info_nce``.
        symmetric: See ``info_nce``.
    """

    def __init__(
        self, model: SentenceTransformer, *, loss_temperature: float, symmetric: bool
    ) -> None:
        super().__init__()
        self.model = model
        self._loss_temperature = loss_temperature
        self._symmetric = symmetric

    def forward(self, features: Iterable[Features], labels: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss under its name."""
        queries, passages = (self.model(side)["sentence_embedding"] for side in features)
        return {
            "hybrid": info_nce(
                queries,
                passages,
                loss_temperature=self._loss_temperature,
                symmetric=self._symmetric,
                excluded=repeated(labels["keys"][:, 0]) | repeated(labels["keys"][:, 1]),
            )
        }


class AlignObjective(nn.Module):
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
    ) -> None:
        super().__init__()
        self.model = model
        self._w_distill = w_distill
        self._distill = distill
        self._distill_temperature = distill_temperature
        self._w_contrast = w_contrast
        self._loss_temperature = loss_temperature

    def forward(self, features: Iterable[Features], labels: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the parts of the loss, weighted, under their names."""
        first, second = (self.model(side)["sentence_embedding"] for side in features)
        parts = {}
        if self._w_contrast:
            parts["contrast"] = self._w_contrast * info_nce(
                first,
                second,
                loss_temperature=self._loss_temperature,
                excluded=repeated(labels["keys"][:, 0]) | repeated(labels["keys"][:, 1]),
            )
        if self._w_distill:
            rows = labels["has_teacher"]
            sides = (first[rows], second[rows])
            parts["distill"] = self._w_distill * self._distance(sides, labels)
        return parts

    def _distance(self, sides: tuple[Tensor, Tensor], labels: dict[str, Tensor]) -> Tensor:
        """Return the mean distance of both sides to the teacher; 0 where no row has one."""
        target = labels["teacher"]
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
