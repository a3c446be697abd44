"""The encoder on the CPU: ONNX Runtime and the tokenizers library, no torch.

The graph's contract: ``input_ids`` and ``attention_mask``, both int64 of shape
(batch, sequence), in; ``sentence_embedding``, float32 of shape (batch, dim) with rows of
Euclidean norm 1, out. Pooling and normalisation are part of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from app.core.encoder_spec import EncoderSpec
from app.core.errors import BundleError, EncodingError, UnencodableTextError
from app.core.types import VectorArray

INPUT_NAMES = ("input_ids", "attention_mask")
OUTPUT_NAME = "sentence_embedding"
TOKENS_A_BATCH = 8192
"""Padded tokens of one forward pass: bounds its memory whatever the texts' lengths."""

_NORM_TOLERANCE = 1e-3
_SHOWN_CHARACTERS = 60


class OnnxEncoder:
    """Implements the ``Encoder`` port with an ONNX graph. Thread-safe.

    Args:
        spec: The contract that the graph was exported for.
        model_path: The ONNX file.
        tokenizer_path: ``tokenizer.json`` of the tokenizers library.
        threads: Threads of one forward pass; 0 for one per physical core.

    Raises:
        BundleError: A file cannot be loaded, or the graph does not keep the contract.
    """

    def __init__(
        self, spec: EncoderSpec, model_path: Path, tokenizer_path: Path, *, threads: int = 0
    ) -> None:
        self._spec = spec
        self._tokenizer = _load_tokenizer(tokenizer_path, spec.max_length)
        self._session = _load_session(model_path, threads)
        _check_graph(self._session, model_path, spec.dim)

    @property
    def spec(self) -> EncoderSpec:
        """The contract of this encoder."""
        return self._spec

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

    def _encode(self, raw: Sequence[str], texts: list[str]) -> VectorArray:
        vectors = np.zeros((len(texts), self._spec.dim), dtype=np.float32)
        token_ids = self._tokenize(texts)
        for rows in _batches([len(ids) for ids in token_ids]):
            vectors[rows] = self._forward([token_ids[row] for row in rows])
        _check_vectors(vectors, raw)
        return vectors

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        try:
            return [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        except TypeError as error:
            raise UnencodableTextError(
                "A text is not valid Unicode (it holds half of a surrogate pair) and cannot be "
                "tokenized."
            ) from error

    def _forward(self, token_ids: list[list[int]]) -> VectorArray:
        shape = (len(token_ids), max(map(len, token_ids)))
        input_ids = np.zeros(shape, dtype=np.int64)
        attention_mask = np.zeros(shape, dtype=np.int64)
        for row, ids in enumerate(token_ids):
            input_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
        return _run(self._session, input_ids, attention_mask)


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


def _run(
    session: onnxruntime.InferenceSession,
    input_ids: NDArray[np.int64],
    attention_mask: NDArray[np.int64],
) -> VectorArray:
    feed = dict(zip(INPUT_NAMES, (input_ids, attention_mask), strict=True))
    try:
        (vectors,) = session.run([OUTPUT_NAME], feed)
    except Exception as error:  # the runtime's errors share no base class
        raise EncodingError(
            f"The encoder failed on a batch of shape {input_ids.shape}: {error}"
        ) from error
    result: VectorArray = vectors
    return result


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


def _load_tokenizer(path: Path, max_length: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        raise BundleError(f"The tokenizer {path} could not be loaded: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def _load_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning workers would take the cores from the event loop between two requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # as in _run
        raise BundleError(f"The encoder {path} could not be loaded: {error}") from error


def _check_graph(session: onnxruntime.InferenceSession, path: Path, dim: int) -> None:
    inputs = {node.name for node in session.get_inputs()}
    outputs = {node.name for node in session.get_outputs()}
    if inputs != set(INPUT_NAMES) or OUTPUT_NAME not in outputs:
        raise BundleError(
            f"The encoder {path} has inputs {sorted(inputs)} and outputs {sorted(outputs)}; "
            f"inputs {sorted(INPUT_NAMES)} and output {OUTPUT_NAME!r} are needed. "
            "Export it again with `isoglot-train export`."
        )
    try:
        # A pass tells more than the declared shape, whose sizes may be symbolic.
        vectors = _run(session, np.zeros((1, 2), np.int64), np.ones((1, 2), np.int64))
    except EncodingError as error:
        raise BundleError(f"The encoder {path} does not run: {error}") from error
    if vectors.shape != (1, dim) or vectors.dtype != np.float32:
        raise BundleError(
            f"The encoder {path} returns {vectors.dtype} of shape {vectors.shape} for one text; "
            f"its spec promises float32 of shape {(1, dim)}."
        )
