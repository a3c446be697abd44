"""Made-up embeddings, and an encoder that returns them."""

from __future__ import annotations

from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from torch.nn.functional import normalize


def unit(seed: int, n: int = 6, dim: int = 5, *, requires_grad: Any = False) -> Any:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    return normalize(vectors, dim=1).requires_grad_(requires_grad)


class Lookup(SentenceTransformer):
    """An encoder that returns the vectors it is given."""

    def __init__(self) -> None:
        super().__init__(modules=[nn.Identity()])

    def forward(self, input: Any, **kwargs: Any) -> Any:
        return {"sentence_embedding": input["vectors"]}
