"""Vectors of texts, for callers that compare them themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.core.encoding import PASSAGES_A_PASS, EncoderThread
from app.core.errors import InvalidInputError
from app.core.passages.entries import MAX_TEXT_CHARACTERS
from app.core.ports import TokenCounter
from app.core.types import VectorArray

Role = Literal["query", "passage"]

MAX_TEXTS = 2048
"""Most texts in one request."""


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Vectors of texts.

    Attributes:
        vectors: float32 of shape (number of texts, dim), every row of Euclidean norm 1.
        tokens: How many tokens were read.
    """

    vectors: VectorArray
    tokens: int


class EmbeddingService:
    """Embeds texts."""

    def __init__(self, *, encoder: EncoderThread, tokens: TokenCounter) -> None:
        self._encoder = encoder
        self._tokens = tokens

    async def embed(self, texts: Sequence[str], *, role: Role, pointer: str) -> Embeddings:
        """Embed texts.

        Args:
            texts: At least one; what they are tells the encoder which prefix to use.
            role: Whether they are queries or passages.
            pointer: JSON pointer to the list of texts, for errors.

        Raises:
            InvalidInputError: There are none, too many, or one of them is empty or too long.
            UnencodableTextError: The encoder knows no token of a text.
            EncodingError: The encoder failed.
        """
        check_texts(texts, at_most=MAX_TEXTS, pointer=pointer)
        vectors = await self._passes(texts, role)
        counts = await asyncio.to_thread(self._tokens.count_tokens, texts)
        return Embeddings(vectors, sum(counts))

    async def _passes(self, texts: Sequence[str], role: Role) -> VectorArray:
        if role == "passage":
            return await self._encoder.encode_passages(texts)
        # In passes, so that searches need not wait for all of them.
        passes = [
            await self._encoder.encode_queries(texts[start : start + PASSAGES_A_PASS])
            for start in range(0, len(texts), PASSAGES_A_PASS)
        ]
        return np.concatenate(passes)


def check_texts(texts: Sequence[str], *, at_most: int, pointer: str) -> None:
    """Do nothing if there are some texts, not too many, and all of a usable length.

    Raises:
        InvalidInputError: Otherwise; it points to the first that is wrong.
    """
    if not 1 <= len(texts) <= at_most:
        raise InvalidInputError(
            f"There are {len(texts)} texts; send 1 to {at_most}.", pointer=pointer
        )
    for index, text in enumerate(texts):
        if not text.strip():
            raise InvalidInputError(f"Text {index} is empty.", pointer=f"{pointer}/{index}")
        if len(text) > MAX_TEXT_CHARACTERS:
            raise InvalidInputError(
                f"Text {index} has {len(text)} characters; at most {MAX_TEXT_CHARACTERS} are "
                "allowed.",
                pointer=f"{pointer}/{index}",
            )
