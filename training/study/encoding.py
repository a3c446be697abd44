"""Encodes with an encoder that was just trained, and tokenises no text twice.

All cells of a study share one tokenizer, and tokenising costs a static encoder more than anything
else, so that the features of a text are kept from cell to cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from app.core.encoder_spec import EncoderSpec
from app.core.types import VectorArray

Features = dict[str, Any]
"""What ``preprocess`` of sentence-transformers returns: tensors, and words about them."""
TEXTS_A_FORWARD = 256


class FeatureCache:
    """Features of texts, by the prefixed texts of one forward pass."""

    def __init__(self) -> None:
        self._features: dict[tuple[str, ...], Features] = {}

    def __call__(self, encoder: SentenceTransformer, texts: tuple[str, ...]) -> Features:
        """Return what the encoder reads of texts."""
        if texts not in self._features:
            self._features[texts] = dict(encoder.preprocess(list(texts)))
        return self._features[texts]


class TrainedEncoder:
    """A trained encoder as an ``Encoder`` port; texts without known tokens become zero.

    Args:
        encoder: Its last module normalises.
        languages: BCP-47 codes it was trained for.
        cache: Shared by the encoders of one study.
    """

    def __init__(
        self, encoder: SentenceTransformer, languages: Sequence[str], cache: FeatureCache
    ) -> None:
        dim = encoder.get_embedding_dimension()
        assert dim is not None, "both families say their dimension"
        self._encoder = encoder.eval()
        self._cache = cache
        self._spec = EncoderSpec(
            name="study cell",
            base_model=type(encoder[0]).__name__,
            revision="",
            dim=dim,
            pooling="mean",
            max_length=encoder.max_seq_length or 0,
            languages=tuple(sorted(languages)),
            query_prefix=encoder.prompts.get("query") or "",
            passage_prefix=encoder.prompts.get("document") or "",
        )

    @property
    def spec(self) -> EncoderSpec:
        """The contract; it names no revision, because nothing of a study is served."""
        return self._spec

    def encode_queries(self, texts: Sequence[str]) -> VectorArray:
        """Embed queries, float32 of shape (len(texts), dim)."""
        return self._encode(self._spec.as_queries(texts))

    def encode_passages(self, texts: Sequence[str]) -> VectorArray:
        """Embed passages, float32 of shape (len(texts), dim)."""
        return self._encode(self._spec.as_passages(texts))

    def close(self) -> None:
        """Keep everything: the model belongs to the training."""

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str]) -> VectorArray:
        parts = []
        for start in range(0, len(texts), TEXTS_A_FORWARD):
            features = self._cache(self._encoder, tuple(texts[start : start + TEXTS_A_FORWARD]))
            moved = {
                name: value.to(self._encoder.device) if isinstance(value, Tensor) else value
                for name, value in features.items()
            }
            parts.append(self._encoder(moved)["sentence_embedding"].float().cpu().numpy())
        vectors: VectorArray = np.concatenate(parts).astype(np.float32, copy=False)
        return vectors
