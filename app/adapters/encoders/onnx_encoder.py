"""The encoder on the CPU: ONNX Runtime and the tokenizers library, no torch.

The graph's contract: ``input_ids`` and ``attention_mask``, both int64 of shape
(batch, sequence), in; ``sentence_embedding``, float32 of shape (batch, dim) with rows of
Euclidean norm 1, out. Pooling and normalisation are part of the graph.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from app.adapters.encoders.token_encoder import TokenEncoder, padded
from app.core.encoder_spec import EncoderSpec
from app.core.errors import BundleError, EncodingError
from app.core.types import VectorArray

INPUT_NAMES = ("input_ids", "attention_mask")
OUTPUT_NAME = "sentence_embedding"


class OnnxEncoder(TokenEncoder):
    """Implements the ``Encoder`` port with an ONNX graph. Thread-safe.

    Args:
        spec: The contract that the graph was exported for.
        model_path: The ONNX file.
        tokenizer_path: ``tokenizer.json`` of the tokenizers library.
        threads: Threads of one forward pass; 0 for one per physical core.
        engine: What it is called where it is said what computes.

    Raises:
        BundleError: A file cannot be loaded, or the graph does not keep the contract.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        model_path: Path,
        tokenizer_path: Path,
        *,
        threads: int = 0,
        engine: str = "onnx",
    ) -> None:
        super().__init__(spec, tokenizer_path)
        self._engine = engine
        self._session = _load_session(model_path, threads)
        _check_graph(self._session, model_path, spec.dim)

    @property
    def engine(self) -> str:
        """What computes: ``onnx-int8`` or ``onnx-float32``."""
        return self._engine

    def _forward(self, token_ids: list[list[int]]) -> VectorArray:
        return _run(self._session, *padded(token_ids, max(map(len, token_ids))))


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
