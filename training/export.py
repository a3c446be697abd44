"""Turns a trained encoder into what the service loads, and proves that both compute the same.

::

    export/
      encoder/                   sentence-transformers layout: weights, tokenizer.json; with
                                 int8 weights after ``unpack`` only
      encoder/model.onnx         float32 arithmetic; a static encoder's graph shares the table
                                 of model.safetensors
      encoder/model_int8.onnx    int8 weights; shares it too where the stored weights are int8
      encoder_spec.json          the contract, see app.core.encoder_spec
      provenance.json            the run's
      export.json                what was written, and the parity that was measured
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from app.core.bundle import ENCODER_DIRECTORY, Arithmetic
from app.core.encoder_spec import EncoderSpec, Pooling
from training.config import RunConfig, TransformerModel
from training.data_prepared import open_to_readers, write_directory, write_json
from training.encoder import load_encoder, quiet_loading, static_module
from training.errors import RunError
from training.int8_table import WEIGHTS_FILE, quantize_rows, read_rows, write_table
from training.onnx_encoder import ONNX_FILES, SPEC_FILE
from training.onnx_graph import (
    quantize_weights,
    share_table,
    static_graph,
    write_transformer_graph,
)
from training.parity import INT8_COSINE, Parity, ParityCheck, Weights, judge
from training.train import ENCODER, PROVENANCE, RUN

REPORT = "export.json"
_GRAPHS = {arithmetic: Path(path).name for arithmetic, path in ONNX_FILES.items()}
"""Names of the graphs inside the encoder's directory."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is written.

    Attributes:
        weights: Number format of the stored weights; int8 for static encoders only.
        arithmetic: Graphs to write; with int8 weights the int8 graph is the only one.
    """

    weights: Weights = "float32"
    arithmetic: tuple[Arithmetic, ...] = ("float32", "int8")


def _base_name(config: RunConfig) -> str:
    """Return what the encoder was trained from, without the path of a local directory."""
    model = config.model
    if isinstance(model, TransformerModel):
        return Path(model.base).name if Path(model.base).exists() else model.base
    return "static"


def revision(encoder: Path) -> str:
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
        revision=revision(encoder),
        dim=dim,
        pooling=backbone.pooling if backbone else "mean",
        max_length=model.max_length,
        languages=tuple(sorted(config.languages)),
        query_prefix=backbone.query_prefix if backbone else "",
        passage_prefix=backbone.passage_prefix if backbone else "",
        dtype=weights,
    )


def write_int8_graph(encoder: Path, pooling: Pooling = "mean") -> None:
    """Write the graph of a static encoder beside its int8 table, which the two share."""
    graph = static_graph(*read_rows(encoder / WEIGHTS_FILE), pooling=pooling)
    share_table(graph, encoder / WEIGHTS_FILE)
    onnx.save(graph, str(encoder / _GRAPHS["int8"]))


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
        self._int8_method = "weights"
        self._arithmetic = ("int8",) if options.weights == "int8" else options.arithmetic
        self.parity: Parity = {}
        if options.weights == "int8" and isinstance(config.model, TransformerModel):
            raise RunError(
                "int8 weights are for static encoders; a transformer's int8 graph is written "
                "beside its weights: --weights float32 or float16, --arithmetic int8."
            )

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
        write_json(directory / SPEC_FILE, asdict(spec))
        shutil.copy2(self._run / PROVENANCE, directory / PROVENANCE)
        self._write_graphs(target)
        check = self._parity_check(target, spec)
        self.parity = {a: check(target / _GRAPHS[a]) for a in self._arithmetic}
        if self._quantized_too_far():
            self._quantize_weights_only(target)
            self.parity["int8"] = check(target / _GRAPHS["int8"])
        report = {
            "encoder": spec.fingerprint(),
            "weights": self._options.weights,
            "int8": self._int8_method,
            "bytes": {
                path.relative_to(directory).as_posix(): path.stat().st_size
                for path in sorted(target.rglob("*"))
                if path.is_file()
            },
            "parity_texts": len(self._texts),
            "parity": self.parity,
        }
        write_json(directory / REPORT, report)
        judge(self.parity, self._options.weights)
        open_to_readers(directory)

    def _parity_check(self, target: Path, spec: EncoderSpec) -> ParityCheck:
        """Return the check against the stored weights, or, where those are int8, the trained ones.

        Rounding to float16 is part of the encoder; what rounding to int8 costs is measured.
        """
        texts = [*spec.as_queries(self._texts[0::2]), *spec.as_passages(self._texts[1::2])]
        reference = self._run / ENCODER if self._options.weights == "int8" else target
        return ParityCheck(load_encoder(reference), target / "tokenizer.json", texts)

    def _save(self, encoder: SentenceTransformer, target: Path) -> None:
        """Save the encoder in the asked number format, with a tokenizer that never pads."""
        stored = encoder.half() if self._options.weights == "float16" else encoder.float()
        stored.save_pretrained(str(target), create_model_card=False)
        if self._options.weights == "int8":
            table = static_module(encoder).embedding.weight.detach().numpy()
            write_table(target / WEIGHTS_FILE, table)
        path = target / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.enable_truncation(self._config.model.max_length)
        tokenizer.save(str(path))

    def _write_graphs(self, target: Path) -> None:
        """Write the graphs from the stored weights, so that rounding them changes both sides."""
        if self._options.weights == "int8":
            write_int8_graph(target)
            return
        stored = load_encoder(target)
        if isinstance(self._config.model, TransformerModel):
            self._write_transformer(stored, target)
            return
        table = static_module(stored).embedding.weight.detach().numpy()
        for arithmetic in self._arithmetic:
            if arithmetic == "int8":
                graph = static_graph(*quantize_rows(table.astype(np.float32)))
            else:
                graph = static_graph(table)
                share_table(graph, target / WEIGHTS_FILE)
            onnx.save(graph, str(target / _GRAPHS[arithmetic]))

    def _write_transformer(self, stored: SentenceTransformer, folder: Path) -> None:
        """Write the float32 graph, and the fast int8 one: weights and activations quantised."""
        float32 = folder / _GRAPHS["float32"]
        write_transformer_graph(stored, float32)
        if "int8" not in self._options.arithmetic:
            return
        self._int8_method = "weights and activations"
        # Unsigned, because products of signed weights saturate on processors without VNNI.
        with _silent_warnings():
            quantize_dynamic(
                float32,
                folder / _GRAPHS["int8"],
                per_channel=True,
                weight_type=QuantType.QUInt8,
            )
        if "float32" not in self._options.arithmetic:
            float32.unlink()

    def _quantized_too_far(self) -> bool:
        """Return whether quantised activations cost more than is allowed."""
        facts = self.parity.get("int8")
        both = self._int8_method != "weights"
        return facts is not None and both and not facts["mean_cosine"] >= INT8_COSINE

    def _quantize_weights_only(self, target: Path) -> None:
        """Replace the int8 graph by one that computes in float32 with int8 weights."""
        self._int8_method = "weights"
        path = target / _GRAPHS["int8"]
        write_transformer_graph(load_encoder(target), path)
        graph = onnx.load(str(path))
        quantize_weights(graph)
        onnx.save(graph, str(path))


@contextmanager
def _silent_warnings() -> Iterator[None]:
    """Keep warnings from the root logger: the quantiser advises a step that changes nothing."""
    logger = logging.getLogger()
    logger.addFilter(_is_no_warning)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_warning)


def _is_no_warning(record: logging.LogRecord) -> bool:
    return record.levelno != logging.WARNING


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
    quiet_loading()
    document = json.loads((run / RUN).read_text(encoding="utf-8"))
    config = RunConfig.model_validate(document["config"])
    exporter = Exporter(config, run, options, texts)
    with torch.inference_mode():
        write_directory(target, exporter.write, force=force)
    return exporter.parity
