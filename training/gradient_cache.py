"""Gradient caching: contrastive batches that are larger than the memory for their activations.

Source: Gao, Zhang, Han, Callan 2021, arXiv:2101.06983. The batch is embedded in chunks without a
graph; the loss gives the gradient at the embeddings; each chunk is embedded once more, now with a
graph, and that gradient goes on into the weights. The loss sees the whole batch, so value and
gradient are those of the plain loss; only one chunk's activations are alive at a time, and every
text costs two forward passes instead of one.

sentence-transformers has cached losses of its own, but none for static tables and none for losses
with several parts; its snapshot of the random state is used here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from sentence_transformers.base.losses.gradcache import RandContext
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Features: TypeAlias = dict[str, Any]


def embed(
    model: nn.Module, columns: Sequence[Features], mini_batch_size: int | None
) -> list[Tensor]:
    """Return the embeddings of every column, (rows of the column, dim) each.

    Args:
        model: The encoder, perhaps wrapped in ``DistributedDataParallel``.
        columns: Features of the texts of each column.
        mini_batch_size: Texts per chunk of the gradient cache; ``None`` embeds each column at
            once and keeps its activations.
    """
    if mini_batch_size is None:
        return [_embedded(model, column) for column in columns]
    chunked = [list(chunks(column, mini_batch_size)) for column in columns]
    # Without an input that asks for a gradient, autograd would never call ``backward``.
    anchor = torch.zeros((), requires_grad=True)
    return list(_Recomputed.apply(anchor, model, chunked))  # type: ignore[no-untyped-call]


def chunks(features: Features, size: int) -> Iterator[Features]:
    """Yield the features of at most ``size`` texts at a time, in order.

    Args:
        features: Of a transformer: tensors whose first dimension is the text, and what holds for
            all texts. Of a static table: ``input_ids`` (n_tokens,) and ``offsets`` (n_texts,),
            where each text begins.
        size: Texts per chunk.
    """
    if "offsets" not in features:
        for start in range(0, len(features["input_ids"]), size):
            yield {
                name: values[start : start + size] if isinstance(values, Tensor) else values
                for name, values in features.items()
            }
        return
    ids, offsets = features["input_ids"], features["offsets"]
    bounds = [*offsets.tolist(), len(ids)]
    for start in range(0, len(offsets), size):
        stop = min(start + size, len(offsets))
        first, last = bounds[start], bounds[stop]
        yield {"input_ids": ids[first:last], "offsets": offsets[start:stop] - first}


def _embedded(model: nn.Module, features: Features) -> Tensor:
    # A copy, because modules write their results into the features they are given.
    embeddings: Tensor = model(dict(features))["sentence_embedding"]
    return embeddings


@dataclass(frozen=True, slots=True)
class _Arithmetic:
    """The mixed precision of the first pass, for the second one to have it too."""

    device: str
    dtype: torch.dtype
    enabled: bool

    @classmethod
    def current(cls, device: torch.device) -> _Arithmetic:
        kind = device.type
        return cls(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))

    def again(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device, dtype=self.dtype, enabled=self.enabled)


@contextmanager
def _synchronised(model: nn.Module, *, wanted: bool) -> Iterator[None]:
    """Let the processes add up their gradients in this backward pass, or not.

    They do it once a step, after the last chunk: processes with different numbers of chunks would
    otherwise wait for one another for ever.
    """
    if wanted or not isinstance(model, DistributedDataParallel):
        yield
        return
    with model.no_sync():
        yield


class _Recomputed(torch.autograd.Function):
    """Embeddings without a graph, whose backward pass makes the graph chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch declares no type for it
        anchor: Tensor,
        model: nn.Module,
        columns: list[list[Features]],
    ) -> tuple[Tensor, ...]:
        del anchor
        ctx.model, ctx.columns, ctx.states = model, columns, []
        ctx.arithmetic = _Arithmetic.current(columns[0][0]["input_ids"].device)
        embedded = []
        for column in columns:
            parts = []
            for chunk in column:
                ctx.states.append(RandContext(*chunk.values()))
                parts.append(_embedded(model, chunk))
            embedded.append(torch.cat(parts))
        return tuple(embedded)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - torch declares no type for it
        *gradients: Tensor,
    ) -> tuple[None, None, None]:
        todo = [chunk for column in ctx.columns for chunk in column]
        sizes = [_n_texts(chunk) for chunk in todo]
        for number, (chunk, state, gradient) in enumerate(
            zip(todo, ctx.states, torch.split(torch.cat(gradients), sizes), strict=True), start=1
        ):
            last = number == len(todo)
            with (
                torch.enable_grad(),
                ctx.arithmetic.again(),
                state,
                _synchronised(ctx.model, wanted=last),
            ):
                embeddings = _embedded(ctx.model, chunk)
                torch.autograd.backward(embeddings, gradient)
        return None, None, None


def _n_texts(chunk: Features) -> int:
    return len(chunk["offsets"] if "offsets" in chunk else chunk["input_ids"])
