"""Embedding whole retrieval sets, with a progress bar, and never one text twice.

A text that the encoder cannot read (a lone quotation mark) gets the zero vector, whose cosine
with everything is 0: real pools hold such passages, and they must not stop an evaluation.

Vectors are written where they stay, a call's worth at a time: in memory, or in a file that is
memory-mapped, so that a million passages need no second copy and, on disk, no memory of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from app.core.errors import EncodingError, UnencodableTextError
from app.core.ports import Encoder
from app.core.types import VectorArray
from training.retrieval_set import RowArray

TEXTS_A_CALL = 1024

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class VectorStorage:
    """Where vectors are kept while they are searched.

    Attributes:
        directory: Directory of memory-mapped ``.npy`` files; ``None`` keeps vectors in memory.
        dtype: Number format. ``float16`` halves the space and moves a cosine by at most 0.0005.
    """

    directory: Path | None = None
    dtype: Literal["float32", "float16"] = "float32"

    def allocate(self, name: str, shape: tuple[int, int]) -> VectorArray:
        """Return an array of zeros; on disk it is ``<directory>/<name>.npy``."""
        if self.directory is None:
            return np.zeros(shape, dtype=self.dtype)
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"{name}.npy"
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(self.dtype), shape=shape)


IN_MEMORY = VectorStorage()


def progress(items: Iterable[_T], what: str, total: int) -> Iterable[_T]:
    """Iterate with a progress bar on the standard error stream of a terminal."""
    console = Console(stderr=True)
    return track(
        items, description=what, total=total, console=console, disable=not console.is_terminal
    )


def embed_queries(encoder: Encoder, texts: Sequence[str]) -> VectorArray:
    """Embed queries, float32 of shape (len(texts), dim); see ``embed_passages``."""
    vectors = IN_MEMORY.allocate("queries", (len(texts), encoder.spec.dim))
    _embed(encoder.encode_queries, texts, vectors, "Encoding queries")
    return vectors


def embed_passages(
    encoder: Encoder,
    texts: Sequence[str],
    storage: VectorStorage = IN_MEMORY,
    name: str = "passages",
) -> VectorArray:
    """Embed passages.

    Args:
        encoder: What embeds them.
        texts: The passages.
        storage: Where the vectors go.
        name: Name of their file, where they go to one.

    Returns:
        Unit vectors of the storage's dtype, of shape (len(texts), dim); zero where the encoder
        cannot read the text.

    Raises:
        EncodingError: The encoder could not read any of the texts.
    """
    vectors = storage.allocate(name, (len(texts), encoder.spec.dim))
    _embed(encoder.encode_passages, texts, vectors, "Encoding passages")
    return vectors


def _embed(
    encode: Callable[[Sequence[str]], VectorArray],
    texts: Sequence[str],
    vectors: VectorArray,
    what: str,
) -> None:
    first_row: dict[str, int] = {}
    rows = np.array([first_row.setdefault(text, row) for row, text in enumerate(texts)], np.int64)
    firsts = np.array(list(first_row.values()), dtype=np.int64)
    readable = not len(firsts)
    starts = range(0, len(firsts), TEXTS_A_CALL)
    for start in progress(starts, what, len(starts)):
        block = firsts[start : start + TEXTS_A_CALL]
        encoded = _encode_readable(encode, [texts[row] for row in block], vectors.shape[1])
        vectors[block] = encoded
        readable = readable or bool(encoded.any())
    if not readable:
        raise EncodingError("The encoder could not read any of the texts.")
    _copy_repetitions(vectors, rows)


def _copy_repetitions(vectors: VectorArray, rows: RowArray) -> None:
    repeated = np.flatnonzero(rows != np.arange(len(rows)))
    for start in range(0, len(repeated), TEXTS_A_CALL):
        block = repeated[start : start + TEXTS_A_CALL]
        vectors[block] = vectors[rows[block]]


def _encode_readable(
    encode: Callable[[Sequence[str]], VectorArray], texts: Sequence[str], dim: int
) -> VectorArray:
    """Encode texts, halving until the unreadable ones are alone."""
    try:
        return encode(texts)
    except UnencodableTextError:
        if len(texts) == 1:
            return np.zeros((1, dim), np.float32)
        middle = len(texts) // 2
        halves = (texts[:middle], texts[middle:])
        return np.concatenate([_encode_readable(encode, half, dim) for half in halves])
