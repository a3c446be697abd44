"""What all encoders of the service share: prefixes, tokens, batches of similar length, checks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from app.adapters.encoders.tokenizer_file import read_tokenizer
from app.core.encoder_spec import EncoderSpec
from app.core.errors import EncodingError, UnencodableTextError
from app.core.types import VectorArray

TOKENS_A_BATCH = 8192
"""Padded tokens of one forward pass: bounds its memory whatever the texts' lengths."""

_NORM_TOLERANCE = 1e-3
_SHOWN_CHARACTERS = 60


class TokenEncoder(ABC):
    """An ``Encoder`` that needs a forward pass over token ids, and no more. Thread-safe.

    Args:
        spec: The contract that it keeps.
        tokenizer_path: ``tokenizer.json`` of the tokenizers library.

    Raises:
        BundleError: The tokenizer cannot be loaded.
    """

    def __init__(self, spec: EncoderSpec, tokenizer_path: Path) -> None:
        self._spec = spec
        self._tokenizer: Tokenizer = read_tokenizer(tokenizer_path, spec.max_length)

    @property
    def spec(self) -> EncoderSpec:
        """The contract of this encoder."""
        return self._spec

    @property
    @abstractmethod
    def engine(self) -> str:
        """What computes, in one word."""

    def encode_queries(self, texts: Sequence[str]) -> VectorArray:
        """Embed queries.

        Args:
            texts: Raw texts, without prefix.

        Returns:
            float32 of shape (len(texts), dim), every row of Euclidean norm 1.

        Raises:
            UnencodableTextError: The encoder knows no token of a text.
            EncodingError: The runtime failed, or returned something else than unit vectors.
        """
        return self._encode(texts, self._spec.as_queries(texts))

    def encode_passages(self, texts: Sequence[str]) -> VectorArray:
        """Embed passages; as ``encode_queries``, with the passage prefix."""
        return self._encode(texts, self._spec.as_passages(texts))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens are read of each text, prefixes aside."""
        return [len(ids) for ids in self._tokenize(list(texts))]

    def close(self) -> None:
        """Let go of the tokenizer and of what computes: all but the contract."""
        for name in vars(self).keys() - {"_spec"}:
            delattr(self, name)

    @abstractmethod
    def _forward(self, token_ids: list[list[int]]) -> VectorArray:
        """Return the vectors of texts of at least one token, float32 of shape (n, dim)."""

    def _encode(self, raw: Sequence[str], texts: list[str]) -> VectorArray:
        vectors = np.zeros((len(texts), self._spec.dim), dtype=np.float32)
        token_ids = self._tokenize(texts)
        for rows in _batches([len(ids) for ids in token_ids]):
            vectors[rows] = self._forward([token_ids[row] for row in rows])
        _check_vectors(vectors, raw)
        return vectors

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        try:
            if len(texts) == 1:  # not worth waking the tokenizer's threads
                return [self._tokenizer.encode(texts[0]).ids]
            return [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        except TypeError as error:
            raise UnencodableTextError(
                "A text is not valid Unicode (it holds half of a surrogate pair) and cannot be "
                "tokenized."
            ) from error


def padded(
    token_ids: list[list[int]], length: int, padding: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return token ids, and a mask that is 1 where there is a token; (n, length) each.

    Args:
        token_ids: Of n texts, none longer than ``length``.
        length: Of every row.
        padding: The id of the padding token.
    """
    shape = (len(token_ids), length)
    input_ids, mask = np.full(shape, padding, np.int64), np.zeros(shape, np.int64)
    for row, ids in enumerate(token_ids):
        input_ids[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return input_ids, mask


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield row numbers of similar length, each batch within the token budget when padded.

    Rows of no tokens are left out: there is nothing to compute for them.
    """
    longest_first = sorted((row for row, n in enumerate(lengths) if n), key=lambda r: -lengths[r])
    batch: list[int] = []
    for row in longest_first:
        if batch and lengths[batch[0]] * (len(batch) + 1) > TOKENS_A_BATCH:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _check_vectors(vectors: VectorArray, texts: Sequence[str]) -> None:
    # A NaN norm compares as not close, so this refuses NaN and infinity too.
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    (unusable,) = np.nonzero(~(np.abs(norms - 1.0) <= _NORM_TOLERANCE))
    if not unusable.size:
        return
    row = int(unusable[0])
    start = texts[row][:_SHOWN_CHARACTERS]
    where = f"Text {row + 1} of {len(texts)}, which starts with {start!r},"
    if norms[row] == 0.0 or np.isnan(norms[row]):  # the graph divides nothing by nothing
        raise UnencodableTextError(f"{where} has no token that the encoder knows.")
    raise EncodingError(f"{where} got a vector of norm {norms[row]:.3g} instead of 1.")
