"""The bundle: a directory with an encoder, its calibrator and what is known about both.

Immutable, content-addressed and safe to load: JSON, safetensors and ONNX only, never pickle,
never remote code, never the network::

    manifest.json       this module's Manifest
    encoder/            sentence-transformers layout, with the served graphs model*.onnx
    calibrator.json     app.core.calibration.calibrator
    calibrator.hybrid.json   the same for hybrid retrieval; may be missing
    reference.json      score and probability distributions the service is compared with
    report/             evaluation results, diagrams, model card
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from app.core.calibration.calibrator import Calibrator
from app.core.calibration.document import CalibratorDocument, read_calibrator
from app.core.encoder_spec import EncoderSpec
from app.core.errors import (
    BundleError,
    BundleIntegrityError,
    CalibratorMismatchError,
    UnsupportedSchemaError,
)

BUNDLE_SCHEMA = 1
MANIFEST_FILE = "manifest.json"
CALIBRATOR_FILE = "calibrator.json"
HYBRID_CALIBRATOR_FILE = "calibrator.hybrid.json"
REFERENCE_FILE = "reference.json"
ENCODER_DIRECTORY = "encoder"
TOKENIZER_FILE = f"{ENCODER_DIRECTORY}/tokenizer.json"
_HASH_BLOCK = 1 << 20

Arithmetic = Literal["float32", "int8"]
EncoderEngine = Literal["auto", "int8", "float32", "torch"]
"""What may compute an encoder: an arithmetic of ONNX Runtime, torch, or the best that is there."""


class Manifest(BaseModel):
    """What a bundle holds.

    Attributes:
        schema_version: Version of the bundle format.
        id: sha256 over the rest of the manifest, and so over every file.
        name: Name a person recognises.
        encoder: The encoder contract.
        onnx: Arithmetic to the ONNX file that computes it.
        training: How the encoder was made: data fingerprints and licences, alpha,
            loss_temperature, seed, versions, commit.
        files: Path inside the bundle to sha256, for every file but the manifest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1]
    id: str = Field(pattern=r"^[0-9a-f]{64}$")
    name: str = Field(min_length=1)
    encoder: EncoderSpec
    onnx: dict[Arithmetic, str] = Field(min_length=1)
    training: dict[str, JsonValue]
    files: dict[str, str] = Field(min_length=1)

    @property
    def short_id(self) -> str:
        """The name and the first 12 digits of the id, as responses show it."""
        return f"{self.name}@{self.id[:12]}"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle.

    Attributes:
        directory: Where it lies.
        manifest: Its manifest.
        calibrator: ``None`` where the bundle has none: then no probability is ever stated.
        reference: Reference distributions, empty where the bundle has none.
        hybrid: Calibrator of hybrid retrieval; ``None`` where the bundle has none: then no
            probability is stated of what is found by words.
    """

    directory: Path
    manifest: Manifest
    calibrator: Calibrator | None
    reference: Mapping[str, JsonValue]
    hybrid: Calibrator | None = None

    @property
    def spec(self) -> EncoderSpec:
        """The encoder contract."""
        return self.manifest.encoder

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer, in the format of the tokenizers library."""
        return self.directory / TOKENIZER_FILE

    def onnx_path(self, arithmetic: Arithmetic | None = None) -> Path:
        """Return the ONNX file for an arithmetic; the smallest there is by default.

        Raises:
            BundleError: The bundle does not carry that arithmetic.
        """
        available = self.manifest.onnx
        chosen = arithmetic or ("int8" if "int8" in available else "float32")
        if chosen not in available:
            raise BundleError(
                f"Bundle {self.manifest.short_id} carries {', '.join(sorted(available))} "
                f"arithmetic, not {chosen}."
            )
        return self.directory / available[chosen]


def load_bundle(directory: Path) -> Bundle:
    """Load a bundle and verify all of it.

    Raises:
        BundleError: The directory or its manifest cannot be read.
        UnsupportedSchemaError: It was written by another version of the format.
        BundleIntegrityError: A file is missing, was added, or does not match its hash.
        CalibratorMismatchError: A calibrator was fitted for another encoder, or for lists that
            are found otherwise.
        CalibrationError: A calibrator is malformed.
    """
    manifest = read_manifest(directory)
    verify_files(directory, manifest)
    reference = {}
    if REFERENCE_FILE in manifest.files:
        reference = _read_json_object(directory / REFERENCE_FILE)
    return Bundle(
        directory,
        manifest,
        calibrator=_calibrator(directory, manifest, CALIBRATOR_FILE),
        reference=reference,
        hybrid=_calibrator(directory, manifest, HYBRID_CALIBRATOR_FILE),
    )


def read_manifest(directory: Path) -> Manifest:
    """Read and check a manifest; the files it names are not looked at."""
    path = directory / MANIFEST_FILE
    try:
        is_bundle = path.is_file()
    except OSError as error:  # a name that is too long, for example
        raise BundleError(f"{path} could not be read: {error.strerror}") from error
    if not is_bundle:
        raise BundleError(
            f"{directory} is not a bundle: it has no {MANIFEST_FILE}. Point to a directory that "
            "`isoglot-train bundle` wrote."
        )
    raw = _read_json_object(path)
    if raw.get("schema_version") != BUNDLE_SCHEMA:
        raise UnsupportedSchemaError(
            f"{path} has schema version {raw.get('schema_version')!r}; this version of Isoglot "
            f"reads version {BUNDLE_SCHEMA}."
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        raise BundleError(f"{path} is malformed: {error}") from error
    if manifest_id(raw) != manifest.id:
        raise BundleIntegrityError(
            f"{path} was changed after it was written: its id does not match its content. "
            "Copy the bundle again from where it came."
        )
    return manifest


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Check that the directory holds exactly the files of the manifest, unchanged.

    Raises:
        BundleIntegrityError: Names the files that are missing, extra or changed.
    """
    found = dict(_files(directory))
    problems = [f"missing: {name}" for name in sorted(manifest.files.keys() - found.keys())]
    problems += [f"extra: {name}" for name in sorted(found.keys() - manifest.files.keys())]
    problems += [
        f"changed: {name}"
        for name in sorted(found.keys() & manifest.files.keys())
        if file_sha256(found[name]) != manifest.files[name]
    ]
    if problems:
        raise BundleIntegrityError(
            f"Bundle {directory} is damaged ({'; '.join(problems)}). "
            "Copy it again from where it came."
        )


def write_manifest(
    directory: Path,
    *,
    name: str,
    encoder: EncoderSpec,
    onnx: Mapping[Arithmetic, str],
    training: Mapping[str, JsonValue],
) -> Manifest:
    """Seal a directory: hash every file in it and write the manifest.

    Args:
        directory: Holds the finished files of the bundle.
        name: Name a person recognises.
        encoder: The encoder contract.
        onnx: Arithmetic to path inside the bundle.
        training: Provenance, any JSON object.

    Raises:
        BundleError: The result would not load again.
    """
    content: dict[str, Any] = {
        "schema_version": BUNDLE_SCHEMA,
        "name": name,
        "encoder": encoder.to_json(),
        "onnx": dict(onnx),
        "training": dict(training),
        "files": {relative: file_sha256(path) for relative, path in _files(directory)},
    }
    content["id"] = manifest_id(content)
    text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True)
    (directory / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")
    return load_bundle(directory).manifest


def manifest_id(raw: Mapping[str, Any]) -> str:
    """Return the sha256 over the canonical JSON of a manifest, its id left out."""
    content = {key: value for key, value in raw.items() if key != "id"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file as 64 hex digits, reading it in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _files(directory: Path) -> list[tuple[str, Path]]:
    """Return every file but the manifest, by its path inside the bundle, sorted."""
    paths = sorted(path for path in directory.rglob("*") if path.is_symlink() or path.is_file())
    for path in paths:
        if path.is_symlink():
            raise BundleIntegrityError(
                f"{path} is a symbolic link; a bundle holds its files itself."
            )
    named = ((path.relative_to(directory).as_posix(), path) for path in paths)
    return [(name, path) for name, path in named if name != MANIFEST_FILE]


def _calibrator(directory: Path, manifest: Manifest, file: str) -> Calibrator | None:
    if file not in manifest.files:
        return None
    calibrator = Calibrator(read_calibrator(directory / file))
    _check_binding(calibrator, manifest.encoder)
    check_retrieval(calibrator.document, file)
    return calibrator


def check_retrieval(document: CalibratorDocument, file: str) -> None:
    """Refuse a calibrator of dense lists in the file of that of hybrid ones, and the reverse.

    Raises:
        CalibratorMismatchError: It is.
    """
    found = document.retrieval or "dense"
    wanted = "hybrid" if file == HYBRID_CALIBRATOR_FILE else "dense"
    if found != wanted:
        raise CalibratorMismatchError(
            f"{file} holds the calibrator of {wanted} retrieval, but calibrator {document.id} was "
            f"fitted on {found} lists. Fit it with `isoglot-train calibrate --retrieval {wanted}`."
        )


def _check_binding(calibrator: Calibrator, spec: EncoderSpec) -> None:
    fitted_for = calibrator.document.encoder.fingerprint
    if fitted_for != spec.fingerprint():
        raise CalibratorMismatchError(
            f"The calibrator {calibrator.id} was fitted for encoder {fitted_for}, but this bundle "
            f"carries encoder {spec.fingerprint()}. Fit it again with `isoglot-train calibrate`."
        )


def _read_json_object(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{path} could not be read as JSON: {error}") from error
    if not isinstance(raw, dict):
        raise BundleError(f"{path} must hold a JSON object.")
    return raw
