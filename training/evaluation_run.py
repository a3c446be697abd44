"""The command ``evaluate``: retrieval, and calibration where a calibrator is given.

Writes ``results.json``, ``table.md`` and, with a calibrator, reliability diagrams.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.bundle import CALIBRATOR_FILE
from app.core.calibration import Calibrator
from app.core.calibrator_document import read_calibrator
from app.core.errors import CalibratorMismatchError
from training.calibration_run import read_references
from training.evaluate import (
    EmbeddedSet,
    embed_set,
    evaluate_bm25,
    rank_relevant,
    summarise,
    write_run,
)
from training.evaluate_calibration import (
    OURS,
    measure_first_hit,
    measure_groups,
    ours,
    serve_all,
)
from training.metrics.bootstrap import REPLICATES
from training.onnx_encoder import ExportedEncoder
from training.report import (
    calibration_table,
    draw_reliability,
    overall,
    ratio_table,
    retrieval_tables,
)
from training.retrieval_set import read_retrieval_set

RESULTS_FILE = "results.json"
TABLE_FILE = "table.md"
_RELATIONS = ("same", "cross")


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What is measured and written.

    Attributes:
        sets: Directories of retrieval sets in LAReQA form.
        calibration: What ``calibrate`` wrote; ``None`` measures retrieval only.
        run_files: Also write TREC run files.
    """

    sets: Sequence[Path]
    calibration: Path | None = None
    run_files: bool = False


def evaluate_encoder(encoder: ExportedEncoder, options: EvaluationOptions, out: Path) -> str:
    """Evaluate an encoder, write the results and return the tables.

    Raises:
        DataError: A set cannot be read.
        CalibratorMismatchError: The calibrator was fitted for another encoder or arithmetic.
    """
    calibrator = None
    if options.calibration is not None:
        calibrator = _read_calibrator(options.calibration, encoder)
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"settings": _settings(encoder), "sets": {}}
    tables = []
    for directory in options.sets:
        embedded = embed_set(encoder, read_retrieval_set(directory))
        name = embedded.data.name
        result = _retrieval(embedded)
        tables.append(retrieval_tables(name, result))
        if calibrator is not None and options.calibration is not None:
            result["calibration"] = _calibration(embedded, calibrator, options.calibration)
            tables.append(_calibration_part(result["calibration"]))
            _draw(name, result["calibration"]["groups"], out)
        if options.run_files:
            write_run(embedded, out / f"{name}.run")
        results["sets"][name] = result
    text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False)
    (out / RESULTS_FILE).write_text(text + "\n", encoding="utf-8")
    (out / TABLE_FILE).write_text("\n".join(tables), encoding="utf-8")
    return "\n".join(tables)


def _retrieval(embedded: EmbeddedSet) -> dict[str, Any]:
    data = embedded.data
    return {
        "queries": len(data.queries),
        "passages": len(data.passages),
        "languages": sorted(set(data.query_languages.tolist())),
        "encoder": summarise(data, rank_relevant(embedded)).to_json(),
        "bm25": evaluate_bm25(data).to_json(),
    }


def _calibration(embedded: EmbeddedSet, calibrator: Calibrator, directory: Path) -> dict[str, Any]:
    hits = serve_all(embedded)
    methods = {OURS: ours(calibrator), **read_references(directory)}
    return {
        "calibrator": calibrator.id,
        "groups": measure_groups(hits, methods, languages=True),
        "answerable": measure_first_hit(hits, calibrator),
    }


def _calibration_part(result: dict[str, Any]) -> str:
    answerable = {"first hit": {"answerable": result["answerable"]}}
    parts = [
        f"### Calibration of the first 20 hits, calibrator {result['calibrator']}\n",
        calibration_table({**overall(result["groups"]), **answerable}),
        "Expected / observed relevant hits:\n",
        ratio_table(result["groups"], OURS),
    ]
    return "\n".join(parts)


def _draw(name: str, groups: dict[str, Any], out: Path) -> None:
    for relation in _RELATIONS:
        if relation in groups:
            diagrams = {
                method: measured["diagram"]
                for method, measured in groups[relation].items()
                if len(measured["diagram"]["hits"]) > 1
            }
            path = out / f"reliability-{name}-{relation}.svg"
            draw_reliability(diagrams, f"{name}: {relation}-language hits", path)


def _read_calibrator(directory: Path, encoder: ExportedEncoder) -> Calibrator:
    calibrator = Calibrator(read_calibrator(directory / CALIBRATOR_FILE))
    bound, spec = calibrator.document.encoder, encoder.spec
    if (bound.fingerprint, bound.dtype) != (spec.fingerprint(), encoder.arithmetic):
        raise CalibratorMismatchError(
            f"The calibrator in {directory} was fitted for encoder {bound.fingerprint} in "
            f"{bound.dtype} arithmetic, not for {spec.fingerprint()} in {encoder.arithmetic}. "
            "Fit it again with `isoglot-train calibrate`."
        )
    return calibrator


def _settings(encoder: ExportedEncoder) -> dict[str, Any]:
    return {
        "encoder": encoder.spec.to_json(),
        "encoder_fingerprint": encoder.spec.fingerprint(),
        "arithmetic": encoder.arithmetic,
        "ties": "score descending, then passage id",
        "bootstrap": {"replicates": REPLICATES, "seed": 0, "unit": "question, all translations"},
    }
