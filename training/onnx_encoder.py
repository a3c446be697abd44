"""The encoder of an exported directory or of a bundle, on the arithmetic that is served.

An export holds ``encoder_spec.json``, ``encoder/tokenizer.json`` and ONNX graphs in ``encoder``.
The only module of this package that imports an adapter: a second implementation of the served
encoder would be one that could differ from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType

from app.adapters.encoders.onnx_encoder import OnnxEncoder
from app.core.bundle import (
    ENCODER_DIRECTORY,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    Arithmetic,
    read_manifest,
)
from app.core.encoder_spec import EncoderSpec
from app.core.errors import BundleError

SPEC_FILE = "encoder_spec.json"
ONNX_FILES: Mapping[Arithmetic, str] = MappingProxyType(
    {
        "float32": f"{ENCODER_DIRECTORY}/model.onnx",
        "int8": f"{ENCODER_DIRECTORY}/model_int8.onnx",
    }
)


def read_spec(export: Path) -> EncoderSpec:
    """Read the encoder contract of an exported directory, or of a bundle.

    Raises:
        BundleError: It is missing or does not describe an encoder.
    """
    path = export / SPEC_FILE
    if not path.exists() and (export / MANIFEST_FILE).is_file():
        return read_manifest(export).encoder
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


class ExportedEncoder(OnnxEncoder):
    """The service's own encoder over an exported directory: what is measured is what is served.

    Args:
        export: What ``isoglot-train export`` wrote, or a bundle.
        arithmetic: Which of its graphs to run; ``None`` for the one that is served, int8 where
            it was exported.
        threads: Threads of one forward pass; 0 for one per physical core.

    Raises:
        BundleError: A file is missing or cannot be loaded.
    """

    def __init__(
        self, export: Path, arithmetic: Arithmetic | None = None, *, threads: int = 0
    ) -> None:
        self.arithmetic: Arithmetic = arithmetic or _served(export)
        model = export / ONNX_FILES[self.arithmetic]
        tokenizer = export / TOKENIZER_FILE
        for path in (model, tokenizer):
            if not path.is_file():
                raise BundleError(f"{export} has no {path.relative_to(export)}: export it again.")
        super().__init__(read_spec(export), model, tokenizer, threads=threads)


def _served(export: Path) -> Arithmetic:
    return "int8" if (export / ONNX_FILES["int8"]).is_file() else "float32"
