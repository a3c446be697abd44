"""Puts encoder, calibrator and evidence together into a bundle, and seals it.

What lands in the bundle: ``encoder/`` of the export, ``calibrator.json``, ``reference.json``,
``calibrator.hybrid.json`` where one was fitted, and ``report/`` with everything that calibration
and evaluation measured and a model card.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.bundle import (
    CALIBRATOR_FILE,
    ENCODER_DIRECTORY,
    HYBRID_CALIBRATOR_FILE,
    REFERENCE_FILE,
    Arithmetic,
    Manifest,
    read_manifest,
    write_manifest,
)
from app.core.calibration.document import read_calibrator
from app.core.errors import BundleError, CalibratorMismatchError
from training.calibration_run import CALIBRATION_FILE
from training.compare import RESULTS_FILE
from training.data_prepared import write_directory
from training.model_card import model_card
from training.onnx_encoder import ONNX_FILES, read_spec

PROVENANCE_FILE = "provenance.json"
EXPORT_REPORT_FILE = "export.json"
REPORT_DIRECTORY = "report"
_REPORT_SUFFIXES = frozenset({".json", ".md", ".svg"})
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class BundleParts:
    """What a bundle is made from.

    Attributes:
        model: What ``export`` wrote.
        calibration: What ``calibrate`` wrote.
        evaluation: What ``evaluate`` wrote.
        notes: Markdown file for the model card: the commands that made all of it, what it has
            never seen, its limits; ``None`` leaves them out.
    """

    model: Path
    calibration: Path
    evaluation: Path
    notes: Path | None = None


def assemble_bundle(
    parts: BundleParts, out: Path, *, name: str, max_megabytes: float, force: bool = False
) -> Manifest:
    """Write a sealed bundle.

    Args:
        parts: What it is made from.
        out: Directory to create; complete, or absent if anything fails.
        name: Name that people read.
        max_megabytes: Largest size in units of a million bytes.
        force: Replace ``out`` if it exists.

    Raises:
        BundleError: A part is missing, or the bundle is too large.
        CalibratorMismatchError: Calibrator or evaluation belong to another encoder or arithmetic.
        PreparedDataError: ``out`` exists and ``force`` is not set.
    """

    def fill(directory: Path) -> None:
        _fill(parts, directory, name)
        _check_size(directory, max_megabytes)

    write_directory(out, fill, force=force)
    return read_manifest(out)


def _fill(parts: BundleParts, directory: Path, name: str) -> None:
    spec = read_spec(parts.model)
    onnx = {key: path for key, path in ONNX_FILES.items() if (parts.model / path).is_file()}
    results = read_object(parts.evaluation / RESULTS_FILE)
    calibration = read_object(parts.calibration / CALIBRATION_FILE)
    provenance = read_object(parts.model / PROVENANCE_FILE)
    _check_belonging(parts, spec.fingerprint(), onnx, results)
    shutil.copytree(parts.model / ENCODER_DIRECTORY, directory / ENCODER_DIRECTORY)
    of_hybrid = (parts.calibration / HYBRID_CALIBRATOR_FILE).is_file()
    served = (CALIBRATOR_FILE, REFERENCE_FILE, *((HYBRID_CALIBRATOR_FILE,) if of_hybrid else ()))
    for file in served:
        _copy(parts.calibration / file, directory / file)
    report = directory / REPORT_DIRECTORY
    report.mkdir()
    for source in (parts.calibration, parts.evaluation):
        for path in sorted(source.iterdir()):
            if path.suffix in _REPORT_SUFFIXES and path.name not in served:
                _copy(path, report / path.name)
    _copy(parts.model / EXPORT_REPORT_FILE, report / EXPORT_REPORT_FILE)
    card = model_card(
        name,
        spec=spec,
        provenance=provenance,
        calibration=calibration,
        results=results,
        notes="" if parts.notes is None else parts.notes.read_text(encoding="utf-8"),
    )
    (report / "model_card.md").write_text(card, encoding="utf-8")
    write_manifest(directory, name=name, encoder=spec, onnx=onnx, training=provenance)


def _check_belonging(
    parts: BundleParts,
    fingerprint: str,
    onnx: Mapping[Arithmetic, str],
    results: Mapping[str, Any],
) -> None:
    """Refuse parts that were made with another encoder, or arithmetic that is not carried."""
    for file in (CALIBRATOR_FILE, HYBRID_CALIBRATOR_FILE):
        path = parts.calibration / file
        if file == HYBRID_CALIBRATOR_FILE and not path.is_file():
            continue
        bound = read_calibrator(path).encoder
        if bound.fingerprint != fingerprint:
            raise CalibratorMismatchError(
                f"{path} was fitted for encoder {bound.fingerprint}, but {parts.model} holds "
                f"encoder {fingerprint}. Calibrate again."
            )
        if bound.dtype not in onnx:
            raise CalibratorMismatchError(
                f"{path} was fitted in {bound.dtype} arithmetic, and {parts.model} does not carry "
                f"it ({', '.join(onnx) or 'no graph'})."
            )
    evaluated = results["settings"]["encoder_fingerprint"]
    if evaluated != fingerprint:
        raise BundleError(
            f"{parts.evaluation} measured encoder {evaluated}, but {parts.model} holds encoder "
            f"{fingerprint}. Evaluate again."
        )


def _check_size(directory: Path, max_megabytes: float) -> None:
    sizes = {path: path.stat().st_size for path in directory.rglob("*") if path.is_file()}
    total = sum(sizes.values()) / _MEGABYTE
    if total > max_megabytes:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
        named = ", ".join(
            f"{path.relative_to(directory)} {sizes[path] / _MEGABYTE:.1f} MB" for path in largest
        )
        raise BundleError(
            f"The bundle would have {total:.1f} MB, and {max_megabytes:g} are allowed. The largest "
            f"files: {named}. Export with --weights float16 or --arithmetic int8, or train a "
            "smaller encoder."
        )


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise BundleError(f"{source} is missing; run the command that writes it again.")
    shutil.copyfile(source, target)


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        BundleError: It cannot be read, or holds something else.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(raw, dict):
        raise BundleError(f"{path} must hold a JSON object.")
    return raw
