"""Cosines on a GPU through torch; selection and counting stay where they are for the CPU.

Passages and queries are moved a block at a time, so what has to fit on the device is one block.
The product is in float64 there too: see ``training/search.py`` for why.
"""

from __future__ import annotations

import numpy as np
import torch

from app.core.types import VectorArray
from training.errors import RunError
from training.retrieval_set import RowArray
from training.search import CosineScorer, ScoreQueries


class TorchCosineScorer(CosineScorer):
    """Scores of unit vectors on a torch device.

    Args:
        queries: As ``CosineScorer``.
        passages: As ``CosineScorer``.
        device: Name of a torch device, for example ``cuda``.

    Raises:
        RunError: There is no such device.
    """

    def __init__(self, queries: VectorArray, passages: VectorArray, device: str) -> None:
        super().__init__(queries, passages)
        self._device = _device(device)

    def against(self, passages: RowArray) -> ScoreQueries:
        """Prepare passages; see ``Scorer``."""
        turned = self._to_device(self._passages[passages]).T

        def score(queries: slice) -> VectorArray:
            scores = self._to_device(self._queries[queries]) @ turned
            result: VectorArray = scores.to(torch.float32).cpu().numpy()
            return result

        return score

    def _to_device(self, vectors: VectorArray) -> torch.Tensor:
        # A memory-mapped array is read-only, which torch warns about: copy the block.
        return torch.from_numpy(np.array(vectors)).to(self._device).to(torch.float64)


def _device(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RunError(
            "There is no CUDA device that torch can use. Leave out --device cuda, or install a "
            "torch build for this machine's GPU."
        )
    return device
