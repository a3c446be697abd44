"""Measures how far an exported graph is from the encoder it was made of, on real texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from app.core.bundle import Arithmetic
from training.errors import ParityError
from training.onnx_graph import INPUTS, OUTPUT

Weights: TypeAlias = Literal["float32", "float16", "int8"]
Parity: TypeAlias = dict[Arithmetic, dict[str, float]]
VectorArray = NDArray[np.float32]

TOLERANCE: Mapping[Weights, float] = {"float32": 1e-4, "float16": 2e-3}
"""Largest difference of any element between torch and the float32 graph, by stored weights."""
INT8_COSINE = 0.995
"""Smallest mean cosine between torch and the int8 graph."""
_BATCH = 16


class ParityCheck:
    """Compares graphs with one torch encoder on the same texts.

    Args:
        encoder: As it was saved.
        tokenizer: ``tokenizer.json``, as the service reads it.
        texts: With their prefixes.
    """

    def __init__(self, encoder: SentenceTransformer, tokenizer: Path, texts: list[str]) -> None:
        self._texts = texts
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        vectors = encoder.cpu().encode(texts, batch_size=_BATCH, show_progress_bar=False)
        self._expected: VectorArray = np.asarray(vectors, dtype=np.float32)

    def __call__(self, graph: Path) -> dict[str, float]:
        """Return how far a graph is from torch, text by text and in padded batches."""
        session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
        alone, padded = (self._encode(session, size) for size in (1, _BATCH))
        cosines = (self._expected * padded).sum(axis=1)
        return {
            "max_abs_diff_alone": float(np.abs(self._expected - alone).max()),
            "max_abs_diff_padded": float(np.abs(self._expected - padded).max()),
            "mean_cosine": float(cosines.mean()),
            "min_cosine": float(cosines.min()),
        }

    def _encode(self, session: onnxruntime.InferenceSession, size: int) -> VectorArray:
        """Return the vectors of the texts, in padded batches of ``size`` texts."""
        vectors = []
        for start in range(0, len(self._texts), size):
            encodings = self._tokenizer.encode_batch(self._texts[start : start + size])
            vectors.append(session.run([OUTPUT], _padded([e.ids for e in encodings]))[0])
        return np.concatenate(vectors)


def _padded(ids: Sequence[Sequence[int]]) -> dict[str, NDArray[np.int64]]:
    """Return the graph's inputs for token ids of different lengths."""
    shape = (len(ids), max(1, *map(len, ids)))
    feed = {name: np.zeros(shape, np.int64) for name in INPUTS}
    for row, tokens in enumerate(ids):
        feed["input_ids"][row, : len(tokens)] = tokens
        feed["attention_mask"][row, : len(tokens)] = 1
    return feed


def judge(parity: Parity, weights: Weights) -> None:
    """Refuse graphs that are farther from torch than allowed; NaN is farther than anything.

    Args:
        parity: What was measured.
        weights: Number format of the stored weights.

    Raises:
        ParityError: Says by how much, for every graph that is too far.
    """
    problems = []
    if facts := parity.get("float32"):
        allowed = TOLERANCE[weights]
        worst = max(facts["max_abs_diff_alone"], facts["max_abs_diff_padded"])
        if not worst <= allowed:
            problems.append(f"float32 differs by {worst:.2g}, allowed is {allowed:.2g}")
    if facts := parity.get("int8"):
        cosine = facts["mean_cosine"]
        if not cosine >= INT8_COSINE:
            problems.append(f"int8 has mean cosine {cosine:.4f}, needed is {INT8_COSINE}")
    if problems:
        raise ParityError("The graph does not compute the encoder: " + "; ".join(problems))
