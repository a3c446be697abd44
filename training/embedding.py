"""Embedding whole retrieval sets, with a progress bar, and never one text twice.

A text that the encoder cannot read (a lone quotation mark) gets the zero vector, whose cosine
with everything is 0: real pools hold such passages, and they must not stop an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from app.core.errors import EncodingError, UnencodableTextError
from app.core.ports import Encoder
from app.core.types import VectorArray

TEXTS_A_CALL = 1024

_T = TypeVar("_T")


def progress(items: Iterable[_T], what: str, total: int) -> Iterable[_T]:
    """Iterate with a progress bar on the standard error stream of a terminal."""
    console = Console(stderr=True)
    return track(
        items, description=what, total=total, console=console, disable=not console.is_terminal
    )


def embed_queries(encoder: Encoder, texts: Sequence[str]) -> VectorArray:
    """Embed queries, float32 of shape (len(texts), dim); unreadable texts are zero."""
    return _embed(encoder.encode_queries, texts, encoder.spec.dim, "Encoding queries")


def embed_passages(encoder: Encoder, texts: Sequence[str]) -> VectorArray:
    """Embed passages, float32 of shape (len(texts), dim); unreadable texts are zero."""
    return _embed(encoder.encode_passages, texts, encoder.spec.dim, "Encoding passages")


def _embed(
    encode: Callable[[Sequence[str]], VectorArray], texts: Sequence[str], dim: int, what: str
) -> VectorArray:
    row_of: dict[str, int] = {}
    rows = np.array([row_of.setdefault(text, len(row_of)) for text in texts], dtype=np.int64)
    distinct = list(row_of)
    starts = range(0, len(distinct), TEXTS_A_CALL)
    calls = [
        _encode_readable(encode, distinct[start : start + TEXTS_A_CALL], dim)
        for start in progress(starts, what, len(starts))
    ]
    vectors: VectorArray = np.concatenate(calls) if calls else np.zeros((0, dim), np.float32)
    if len(vectors) and not vectors.any():
        raise EncodingError("The encoder could not read any of the texts.")
    return vectors[rows]


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
