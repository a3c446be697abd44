"""Tiny valid bundles for tests: a 16-dimensional encoder and a hand-made calibrator."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.core.bundle import (
    CALIBRATOR_FILE,
    HYBRID_CALIBRATOR_FILE,
    TOKENIZER_FILE,
    file_sha256,
    read_manifest,
    write_manifest,
)
from app.core.calibration.document import dump_calibrator
from app.core.encoder_spec import EncoderSpec
from tests import calibrators

FIXTURE = Path(__file__).parent / "fixtures" / "tiny_encoder"
TINY_MODEL = FIXTURE / "model.onnx"
TINY_TOKENIZER = FIXTURE / "tokenizer.json"
TINY_LANGUAGES = ("de", "el", "en", "es", "ru", "zh")
ONNX_FILE = "encoder/model.onnx"


def tiny_spec(**changes: Any) -> EncoderSpec:
    """Return the contract of the tiny encoder, with the given members changed."""
    weights = file_sha256(TINY_MODEL) + file_sha256(TINY_TOKENIZER)
    spec = EncoderSpec(
        name="tiny",
        base_model="static",
        revision=hashlib.sha256(weights.encode()).hexdigest(),
        dim=16,
        pooling="mean",
        max_length=64,
        languages=TINY_LANGUAGES,
    )
    return replace(spec, **changes)


def calibrator_content(spec: EncoderSpec, **changes: Any) -> dict[str, Any]:
    """Return a calibrator document for an encoder, without its id."""
    binding = {"name": spec.name, "fingerprint": spec.fingerprint(), "dtype": spec.dtype}
    return calibrators.calibrator_content(encoder=binding, **changes)


def write_tiny_bundle(
    directory: Path,
    *,
    spec: EncoderSpec | None = None,
    calibrated: bool = True,
    calibrator: dict[str, Any] | None = None,
    hybrid: bool = False,
    name: str = "tiny",
) -> Path:
    """Write a bundle that ``load_bundle`` accepts, and return its directory.

    Args:
        directory: Created if it is missing; its parent need not exist either.
        spec: Encoder contract; changing ``query_prefix`` makes it another encoder.
        calibrated: Whether it has a calibrator.
        calibrator: Calibrator document without id, instead of that of ``tests.calibrators``.
        hybrid: Whether it has a calibrator of hybrid retrieval, that of ``tests.calibrators``.
        name: Name of the bundle.
    """
    spec = spec or tiny_spec()
    (directory / ONNX_FILE).parent.mkdir(parents=True)
    shutil.copyfile(TINY_MODEL, directory / ONNX_FILE)
    shutil.copyfile(TINY_TOKENIZER, directory / TOKENIZER_FILE)
    if calibrated:
        content = calibrator or calibrator_content(spec)
        (directory / CALIBRATOR_FILE).write_text(dump_calibrator(content), encoding="utf-8")
    if hybrid:
        write_hybrid_calibrator(directory, spec)
    write_manifest(
        directory,
        name=name,
        encoder=spec,
        onnx={"float32": ONNX_FILE},
        training={"note": "untrained; made for tests"},
    )
    return directory


def write_hybrid_calibrator(directory: Path, spec: EncoderSpec) -> None:
    """Put a calibrator of hybrid retrieval into a bundle that is not sealed yet."""
    text = dump_calibrator(calibrator_content(spec, **calibrators.HYBRID))
    (directory / HYBRID_CALIBRATOR_FILE).write_text(text, encoding="utf-8")


def copy_bundle(source: Path, directory: Path, *, hybrid: bool) -> Path:
    """Copy a bundle, with a calibrator of hybrid retrieval made for tests, or with none."""
    manifest = read_manifest(source)
    shutil.copytree(source, directory)
    (directory / HYBRID_CALIBRATOR_FILE).unlink(missing_ok=True)
    if hybrid:
        write_hybrid_calibrator(directory, manifest.encoder)
    write_manifest(
        directory,
        name=manifest.name,
        encoder=manifest.encoder,
        onnx=manifest.onnx,
        training=manifest.training,
    )
    return directory
