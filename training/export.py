"""Turns a trained encoder into what the service loads, and proves that both compute the same.

::

    export/
      encoder/                   sentence-transformers layout: weights, tokenizer.json
      encoder/model.onnx         float32 arithmetic; a static encoder's graph shares the table
                                 of model.safetensors
      encoder/model_int8.onnx    int8 weights
      encoder_spec.json          the contract, see app.core.encoder_spec
      provenance.json            the run's
      export.json                what was written, and the parity that was measured

The only module of this package that computes with ONNX Runtime on its own account.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from app.core.bundle import ENCODER_DIRECTORY, TOKENIZER_FILE, Arithmetic
from app.core.encoder_spec import EncoderSpec
from training.config import RunConfig, TransformerModel
from training.data_prepared import write_directory, write_json
from training.encoder import load_encoder, static_module
from training.errors import ParityError, RunError
from training.onnx_graph import (
    INPUTS,
    OUTPUT,
    share_table,
    static_graph,
    write_transformer_graph,
)
from training.train import ENCODER, PROVENANCE, RUN

Weights: TypeAlias = Literal["float32", "float16"]
Parity: TypeAlias = dict[Arithmetic, dict[str, float]]
VectorArray = NDArray[np.float32]

SPEC = "encoder_spec.json"
REPORT = "export.json"
ONNX_FILES: dict[Arithmetic, str] = {"float32": "model.onnx", "int8": "model_int8.onnx"}
TOLERANCE: dict[Weights, float] = {"float32": 1e-4, "float16": 2e-3}
"""Largest difference of any element between torch and the float32 graph."""
INT8_COSINE = 0.995
"""Smallest mean cosine between torch and the int8 graph."""
_PARITY_BATCH = 16


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is written.

    Attributes:
        weights: Number format of the stored weights.
        arithmetic: Graphs to write.
    """

    weights: Weights = "float32"
    arithmetic: tuple[Arithmetic, ...] = ("float32", "int8")


def _base_name(config: RunConfig) -> str:
    """Return what the encoder was trained from, without the path of a local directory."""
    model = config.model
    if isinstance(model, TransformerModel):
        return Path(model.base).name if Path(model.base).exists() else model.base
    return "static"


def _revision(encoder: Path) -> str:
    """Return the sha256 over the weights and the tokenizer of a saved encoder."""
    digest = hashlib.sha256()
    files = sorted(p for p in encoder.rglob("*") if p.suffix == ".safetensors")
    for path in (*files, encoder / "tokenizer.json"):
        digest.update(path.relative_to(encoder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def encoder_spec(config: RunConfig, encoder: Path, dim: int, weights: Weights) -> EncoderSpec:
    """Return the contract of a saved encoder.

    Args:
        config: The run.
        encoder: The saved encoder; its weights and tokenizer make the revision.
        dim: Dimensions of its vectors.
        weights: Number format of its weights.
    """
    model = config.model
    backbone = model if isinstance(model, TransformerModel) else None
    return EncoderSpec(
        name=config.name,
        base_model=_base_name(config),
        revision=_revision(encoder),
        dim=dim,
        pooling=backbone.pooling if backbone else "mean",
        max_length=model.max_length,
        languages=tuple(sorted(config.languages)),
        query_prefix=backbone.query_prefix if backbone else "",
        passage_prefix=backbone.passage_prefix if backbone else "",
        dtype=weights,
    )


class Exporter:
    """Writes one encoder.

    Args:
        config: The run.
        run: Directory of the run.
        options: What to write.
        texts: Held-out texts for the parity check.
    """

    def __init__(
        self, config: RunConfig, run: Path, options: ExportOptions, texts: Sequence[str]
    ) -> None:
        self._config = config
        self._run = run
        self._options = options
        self._texts = texts
        self.parity: Parity = {}

    def write(self, directory: Path) -> None:
        """Write the export into ``directory``.

        Raises:
            ParityError: A graph does not compute what the trained encoder does.
        """
        encoder = load_encoder(self._run / ENCODER)
        target = directory / ENCODER_DIRECTORY
        self._save(encoder, target)
        dim = encoder.get_embedding_dimension()
        assert dim is not None, "both families say their dimension"
        spec = encoder_spec(self._config, target, dim, self._options.weights)
        write_json(directory / SPEC, asdict(spec))
        shutil.copy2(self._run / PROVENANCE, directory / PROVENANCE)
        self._write_graphs(target)
        self.parity = self._measure(directory, spec)
        report = {
            "encoder": spec.fingerprint(),
            "weights": self._options.weights,
            "bytes": {
                path.relative_to(directory).as_posix(): path.stat().st_size
                for path in sorted(target.rglob("*"))
                if path.is_file()
            },
            "parity_texts": len(self._texts),
            "parity": self.parity,
        }
        write_json(directory / REPORT, report)
        self._judge(self.parity)

    def _save(self, encoder: SentenceTransformer, target: Path) -> None:
        """Save the encoder in the asked number format, with a tokenizer that never pads."""
        stored = encoder.half() if self._options.weights == "float16" else encoder.float()
        stored.save_pretrained(str(target), create_model_card=False)
        path = target / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.enable_truncation(self._config.model.max_length)
        tokenizer.save(str(path))

    def _write_graphs(self, target: Path) -> None:
        """Write the graphs from the stored weights, so that rounding them changes both sides."""
        stored = load_encoder(target)
        if isinstance(self._config.model, TransformerModel):
            self._write_transformer(stored, target)
            return
        weight = static_module(stored).embedding.weight.detach()
        table = weight.float().numpy()
        half = self._options.weights == "float16"
        for arithmetic in self._options.arithmetic:
            graph = static_graph(table, scales=arithmetic == "int8", half=half)
            if arithmetic == "float32":
                share_table(graph, target / "model.safetensors")
            onnx.save(graph, str(target / ONNX_FILES[arithmetic]))

    def _write_transformer(self, stored: SentenceTransformer, folder: Path) -> None:
        float32 = folder / ONNX_FILES["float32"]
        write_transformer_graph(stored, float32)
        if "int8" in self._options.arithmetic:
            quantize_dynamic(
                float32,
                folder / ONNX_FILES["int8"],
                per_channel=True,
                weight_type=QuantType.QInt8,
            )
        if "float32" not in self._options.arithmetic:
            float32.unlink()

    def _measure(self, directory: Path, spec: EncoderSpec) -> Parity:
        """Return, per arithmetic, how far the graph is from torch, alone and in padded batches."""
        texts = [
            *spec.as_queries(self._texts[0::2]),
            *spec.as_passages(self._texts[1::2]),
        ]
        expected = _encode_with_torch(directory / ENCODER_DIRECTORY, texts)
        tokenizer = Tokenizer.from_file(str(directory / TOKENIZER_FILE))
        found: Parity = {}
        for arithmetic in self._options.arithmetic:
            path = directory / ENCODER_DIRECTORY / ONNX_FILES[arithmetic]
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            alone = _encode_with_onnx(session, tokenizer, texts, 1)
            padded = _encode_with_onnx(session, tokenizer, texts, _PARITY_BATCH)
            cosines = (expected * padded).sum(axis=1)
            found[arithmetic] = {
                "max_abs_diff_alone": float(np.abs(expected - alone).max()),
                "max_abs_diff_padded": float(np.abs(expected - padded).max()),
                "mean_cosine": float(cosines.mean()),
                "min_cosine": float(cosines.min()),
            }
        return found

    def _judge(self, parity: Parity) -> None:
        """Raise if a graph is farther from torch than allowed; NaN is farther than anything."""
        problems = []
        if facts := parity.get("float32"):
            allowed = TOLERANCE[self._options.weights]
            worst = max(facts["max_abs_diff_alone"], facts["max_abs_diff_padded"])
            if not worst <= allowed:
                problems.append(f"float32 differs by {worst:.2g}, allowed is {allowed:.2g}")
        if facts := parity.get("int8"):
            cosine = facts["mean_cosine"]
            if not cosine >= INT8_COSINE:
                problems.append(f"int8 has mean cosine {cosine:.4f}, needed is {INT8_COSINE}")
        if problems:
            raise ParityError("The graph does not compute the encoder: " + "; ".join(problems))


def _encode_with_torch(encoder: Path, texts: list[str]) -> VectorArray:
    model = load_encoder(encoder).cpu()
    vectors = model.encode(texts, batch_size=_PARITY_BATCH, show_progress_bar=False)
    return np.asarray(vectors, dtype=np.float32)


def _encode_with_onnx(
    session: onnxruntime.InferenceSession, tokenizer: Tokenizer, texts: list[str], batch_size: int
) -> VectorArray:
    """Return the vectors of the texts, in padded batches of a fixed number of texts."""
    vectors = []
    for start in range(0, len(texts), batch_size):
        ids = [
            encoding.ids for encoding in tokenizer.encode_batch(texts[start : start + batch_size])
        ]
        shape = (len(ids), max(1, *map(len, ids)))
        feed = {name: np.zeros(shape, np.int64) for name in INPUTS}
        for row, tokens in enumerate(ids):
            feed["input_ids"][row, : len(tokens)] = tokens
            feed["attention_mask"][row, : len(tokens)] = 1
        vectors.append(session.run([OUTPUT], feed)[0])
    return np.concatenate(vectors)


def export(
    run: Path,
    target: Path,
    texts: Sequence[str],
    options: ExportOptions,
    *,
    force: bool = False,
) -> Parity:
    """Export the encoder of a finished run, and return the parity that was measured.

    Args:
        run: Directory of the run.
        target: Directory to create; complete, or absent if parity fails.
        texts: Held-out texts for the parity check.
        options: What to write.
        force: Replace ``target`` if it exists.

    Raises:
        RunError: The run is not finished, or there is no text to check parity on.
        ParityError: A graph does not compute what the trained encoder does.
        PreparedDataError: ``target`` exists and ``force`` is not set.
    """
    if not (run / PROVENANCE).is_file():
        raise RunError(f"{run} holds no finished run; 'isoglot-train train' makes one.")
    if not texts:
        raise RunError("There is no held-out text to check parity on; set data.held_out_share.")
    document = json.loads((run / RUN).read_text(encoding="utf-8"))
    config = RunConfig.model_validate(document["config"])
    exporter = Exporter(config, run, options, texts)
    with torch.inference_mode():
        write_directory(target, exporter.write, force=force)
    return exporter.parity
