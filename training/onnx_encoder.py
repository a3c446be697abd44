"""The encoder of an exported directory, on the arithmetic that is served.

An export holds ``encoder_spec.json``, ``encoder/tokenizer.json`` and ONNX graphs in
``encoder``. A graph reads ``input_ids`` and ``attention_mask``, int64 of shape (batch,
sequence), and returns ``sentence_embedding``, float32 of shape (batch, dim) with rows of norm 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from app.core.bundle import ENCODER_DIRECTORY, TOKENIZER_FILE, Arithmetic
from app.core.encoder_spec import EncoderSpec
from app.core.errors import BundleError, UnencodableTextError
from app.core.types import VectorArray

SPEC_FILE = "encoder_spec.json"
ONNX_FILES: Mapping[Arithmetic, str] = MappingProxyType(
    {
        "float32": f"{ENCODER_DIRECTORY}/model.onnx",
        "int8": f"{ENCODER_DIRECTORY}/model_int8.onnx",
    }
)
_TOKENS_A_BATCH = 16384
_NORM_TOLERANCE = 1e-3


def read_spec(export: Path) -> EncoderSpec:
    """Read the encoder contract of an exported directory.

    Raises:
        BundleError: It is missing or does not describe an encoder.
    """
    path = export / SPEC_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(EncoderSpec)}
        if strangers := raw.keys() - known:
            raise BundleError(f"{path} has unknown members: {', '.join(sorted(strangers))}.")
        return EncoderSpec(**{**raw, "languages": tuple(raw["languages"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleError(
            f"{path} does not describe an encoder ({error}). Point to a directory that "
            "`isoglot-train export` wrote."
        ) from error


class OnnxEncoder:
    """Implements the ``Encoder`` port over an exported directory.

    Args:
        export: What ``isoglot-train export`` wrote.
        arithmetic: Which of its graphs to run; ``None`` for the one that is served, int8 where
            it was exported.
        threads: Threads of one forward pass; 0 for one per physical core.

    Raises:
        BundleError: A file is missing or cannot be loaded.
    """

    def __init__(
        self, export: Path, arithmetic: Arithmetic | None = None, *, threads: int = 0
    ) -> None:
        self._spec = read_spec(export)
        self.arithmetic = arithmetic or _served(export)
        model = export / ONNX_FILES[self.arithmetic]
        tokenizer = export / TOKENIZER_FILE
        for path in (model, tokenizer):
            if not path.is_file():
                raise BundleError(f"{export} has no {path.relative_to(export)}: export it again.")
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._spec.max_length)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )

    @property
    def spec(self) -> EncoderSpec:
        """The contract of this encoder."""
        return self._spec

    def encode_queries(self, texts: Sequence[str]) -> VectorArray:
        """Embed queries; see the port."""
        return self._encode(self._spec.as_queries(texts))

    def encode_passages(self, texts: Sequence[str]) -> VectorArray:
        """Embed passages; see the port."""
        return self._encode(self._spec.as_passages(texts))

    def _encode(self, texts: list[str]) -> VectorArray:
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        vectors = np.zeros((len(texts), self._spec.dim), dtype=np.float32)
        for rows in _batches([len(ids) for ids in tokens]):
            vectors[rows] = self._forward([tokens[row] for row in rows])
        norms = np.linalg.norm(vectors, axis=1)
        unusable = np.flatnonzero(~(np.abs(norms - 1.0) <= _NORM_TOLERANCE))
        if unusable.size:
            raise UnencodableTextError(
                f"The encoder has no usable vector for {len(unusable)} of {len(texts)} texts; "
                f"the first is {texts[unusable[0]][:60]!r}. Remove texts without words."
            )
        return vectors

    def _forward(self, tokens: list[list[int]]) -> VectorArray:
        shape = (len(tokens), max(map(len, tokens)))
        ids, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for row, known in enumerate(tokens):
            ids[row, : len(known)] = known
            mask[row, : len(known)] = 1
        feed = {"input_ids": ids, "attention_mask": mask}
        (vectors,) = self._session.run(["sentence_embedding"], feed)
        result: VectorArray = vectors
        return result


def _served(export: Path) -> Arithmetic:
    return "int8" if (export / ONNX_FILES["int8"]).is_file() else "float32"


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield rows of similar length, within the token budget when padded; empty rows left out."""
    batch: list[int] = []
    for row in sorted(np.flatnonzero(lengths).tolist(), key=lambda r: -lengths[r]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > _TOKENS_A_BATCH:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
