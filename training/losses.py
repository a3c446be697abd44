"""Contrastive losses as pure functions of embeddings.

Source of InfoNCE: van den Oord et al. 2018, arXiv:1807.03748, equation 4, with cosines divided by
``loss_temperature`` as scores and the other members of the batch as negatives.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor


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


def info_nce(  # noqa: PLR0913 - what stands in the denominators
    queries: Tensor,
    passages: Tensor,
    *,
    loss_temperature: float,
    symmetric: bool = True,
    excluded: Tensor | None = None,
    negatives: tuple[Tensor, Tensor] | None = None,
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
        negatives: Hard negatives, (n, dim) rows of norm 1, which queries are asked to tell from
            their passages too; and which of them are none for which query, (batch, n) bool.

    Returns:
        A scalar >= 0.
    """
    logits = queries @ passages.T / loss_temperature
    if excluded is not None:
        logits = logits.masked_fill(excluded, -torch.inf)
    right = torch.arange(len(logits), device=logits.device)
    every = logits
    if negatives is not None:
        further = queries @ negatives[0].T / loss_temperature
        every = torch.cat([logits, further.masked_fill(negatives[1], -torch.inf)], dim=1)
    loss = F.cross_entropy(every, right)
    if symmetric:
        loss = (loss + F.cross_entropy(logits.T, right)) / 2
    return loss


def no_negatives(
    negatives: Tensor, passages: Tensor, negative_groups: Tensor, groups: Tensor
) -> Tensor:
    """Return which hard negatives are none for which member of a batch, (batch, n) bool.

    A text of the passage's own group is no negative: it is the passage or a translation of it. A
    text that is a passage of the batch is one already, and counts once.

    Args:
        negatives: (n,) keys of the hard negatives' texts.
        passages: (batch,) keys of the passages' texts.
        negative_groups: (n,) passage group of the hard negatives, -1 where they have none.
        groups: (batch,) passage group of the members.
    """
    known = torch.isin(negatives, passages)
    related = (groups[:, None] == negative_groups[None, :]) & (negative_groups >= 0)[None, :]
    return known[None, :] | related


def shortened(embeddings: Tensor, dim: int) -> Tensor:
    """Return the first ``dim`` dimensions of every row, of norm 1 again, (n, dim)."""
    if dim == embeddings.shape[1]:
        return embeddings
    return F.normalize(embeddings[:, :dim], dim=1)


def cosine_distance(embeddings: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of ``1 - cosine`` over rows; both (batch, dim), rows of norm 1."""
    return (1.0 - (embeddings * targets).sum(dim=1)).mean()
