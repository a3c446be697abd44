"""The command ``calibrate``: from sets and an encoder to a calibrator with its evidence.

Writes into a directory: ``calibrator.json``; ``reference.json``, the distributions that the
service compares itself with; ``calibration.json``, what was measured (held-out documents, every
source left out in turn) and the parameters of the score-only references; and ``calibration.md``.
For hybrid retrieval it writes ``calibrator.hybrid.json``, ``calibration.hybrid.json`` and
``calibration.hybrid.md``, which may lie beside the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from app.core.bundle import CALIBRATOR_FILE, HYBRID_CALIBRATOR_FILE, REFERENCE_FILE
from app.core.calibration.calibrator import Calibrator
from app.core.calibration.document import EncoderBinding, parse_calibrator
from app.core.calibration.fit_ridge import group_folds
from app.core.types import FloatArray
from training.calibrate import (
    FittedHeads,
    calibrator_text,
    fit_heads,
)
from training.calibration_config import CalibrationConfig
from training.calibration_data import (
    CalibrationHits,
    build_pool,
    collect_hits,
    data_sha256,
    labels,
    load_sets,
    served_at_full_size,
)
from training.calibration_evidence import choose_thresholds, gather_evidence
from training.calibration_folds import cross_fit, references, state_left_out
from training.calibration_heads import FittedHead
from training.calibration_pieces import FittedPieces
from training.errors import ConfigError
from training.evaluate_calibration import (
    OURS,
    HitsToProbability,
    by_score,
    measure_groups,
    ours,
)
from training.onnx_encoder import ExportedEncoder
from training.reference_calibrators import ScoreMap
from training.report import calibration_page
from training.served import HitTable

CALIBRATION_FILE = "calibration.json"
HYBRID_CALIBRATION_FILE = "calibration.hybrid.json"
SCORE_EDGES = tuple(round(-0.1 + 0.05 * step, 2) for step in range(23))
PROBABILITY_EDGES = (0.01, 0.02, 0.05, *(step / 10 for step in range(1, 10)), 0.95, 0.98)
_MIN_RELEVANT = 20


def calibrate_encoder(
    encoder: ExportedEncoder, config: CalibrationConfig, data_root: Path, out: Path
) -> dict[str, Any]:
    """Fit a calibrator, measure it, and write both; returns what ``calibration.json`` holds.

    Raises:
        DataError: A set cannot be read.
        CalibrationError: The fit is impossible or breaks a law.
    """
    pool = build_pool(encoder, load_sets(config, data_root), config)
    collected = collect_hits(pool, config)
    digest = data_sha256(config, data_root)
    binding = EncoderBinding(
        name=encoder.spec.name, fingerprint=encoder.spec.fingerprint(), dtype=encoder.arithmetic
    )
    answered = collected.where(collected.answered)
    held_out = _held_out(collected, config, binding, digest)
    heads = fit_heads(collected, config)
    transfer = _leave_one_source_out(answered, config, heads)
    cross = cross_fit(collected, config, heads, binding)
    thresholds, evidence = choose_thresholds(cross, config), gather_evidence(cross, config)
    text = calibrator_text(
        heads,
        answered,
        binding=binding,
        data_sha256=digest,
        measured={
            "metrics": {
                "held_out_documents": _short(held_out),
                "leave_one_source_out": dict(transfer),
            },
            "thresholds": thresholds.model_dump(mode="json", exclude_none=True),
            "evidence": evidence.written(),
        },
    )
    calibrator = _load(text)
    content = {
        "calibrator": calibrator.id,
        "encoder": binding.model_dump(),
        "config": config.model_dump(mode="json", by_alias=True),
        "data_sha256": digest,
        "thresholds": thresholds.model_dump(mode="json"),
        "heads": {name: _facts(getattr(heads, name)) for name in ("hit", "pooled", "first_hit")},
        "score_pieces": _facts_of_pieces(heads.pieces),
        "references": {name: map_.to_json() for name, map_ in references(collected).items()},
        "held_out_documents": held_out,
        "leave_one_source_out": transfer,
    }
    out.mkdir(parents=True, exist_ok=True)
    document, report = CALIBRATOR_FILE, CALIBRATION_FILE
    if config.retrieval == "hybrid":
        document, report = HYBRID_CALIBRATOR_FILE, HYBRID_CALIBRATION_FILE
    else:  # what is watched is what is found by vector
        served = served_at_full_size(pool)
        _write(out / REFERENCE_FILE, reference_distributions(served, answered.hits, calibrator))
    (out / document).write_text(text, encoding="utf-8")
    _write(out / report, content)
    page = (out / report).with_suffix(".md")
    page.write_text(calibration_page(content), encoding="utf-8")
    return content


def read_references(directory: Path) -> dict[str, HitsToProbability]:
    """Return the score-only references that were fitted on the calibration hits.

    Args:
        directory: What ``calibrate`` wrote, or a bundle that was made with it.

    Raises:
        ConfigError: It is neither.
    """
    places = (directory / CALIBRATION_FILE, directory / "report" / CALIBRATION_FILE)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ConfigError(
            f"--calibration {directory} has no {CALIBRATION_FILE}: give what `isoglot-train "
            "calibrate` wrote, or a bundle with its report."
        )
    raw = json.loads(path.read_text(encoding="utf-8"))["references"]
    return {name: by_score(ScoreMap.from_json(reference)) for name, reference in raw.items()}


def reference_distributions(
    served: HitTable, judged: HitTable, calibrator: Calibrator
) -> dict[str, Any]:
    """Return what ``reference.json`` holds: cumulative shares of served hits by relation."""
    probability = calibrator.hit_probability(served.features())
    relations = {"same": served.same, "cross": ~served.same}
    return {
        "schema": 1,
        "calibrator": calibrator.id,
        "score_cdf": {
            name: _cdf(served.score[mask], SCORE_EDGES) for name, mask in relations.items()
        },
        "probability_cdf": {
            name: _cdf(probability[mask], PROBABILITY_EDGES) for name, mask in relations.items()
        },
        "hits": {name: int(mask.sum()) for name, mask in relations.items()},
        "base_rate": {
            "same": float(judged.relevant[judged.same].mean()),
            "cross": float(judged.relevant[~judged.same].mean()),
        },
        "corpus_sizes": sorted({int(size) for size in judged.corpus}),
    }


def _held_out(
    collected: CalibrationHits, config: CalibrationConfig, binding: EncoderBinding, digest: str
) -> dict[str, Any]:
    """Compare calibrators on documents that none of them was fitted on."""
    folds = max(2, round(1.0 / config.test_share)) if config.test_share else config.folds
    test = group_folds(collected.hits.cluster, folds, config.seed + 1) == 0
    heads = fit_heads(collected.where(~test), config)
    kept = collected.where(~test & collected.answered)
    text = calibrator_text(heads, kept, binding=binding, data_sha256=digest, measured={})
    methods = {OURS: ours(_load(text))}
    methods |= {name: by_score(method) for name, method in references(kept).items()}
    return measure_groups(collected.hits.where(test & collected.answered), methods)


def _leave_one_source_out(
    collected: CalibrationHits, config: CalibrationConfig, like: FittedHeads
) -> dict[str, Any]:
    """Return source and relation to expected / observed when the fit has not seen the source.

    Measured in the whole pool; relations with few relevant hits are left out.
    """
    whole = collected.hits.corpus == max(collected.corpus_sizes)
    stated = state_left_out(collected, config, like)
    ratios: dict[str, dict[str, float]] = {}
    for number, name in enumerate(labels(config)):
        mine = (collected.source == number) & whole & ~np.isnan(stated)
        hits, probability = collected.hits.where(mine), stated[mine]
        for relation, mask in {"same": hits.same, "cross": ~hits.same}.items():
            relevant = int(hits.relevant[mask].sum())
            if relevant >= _MIN_RELEVANT:
                ratio = float(probability[mask].sum()) / relevant
                ratios.setdefault(str(name), {})[relation] = ratio
    return ratios


def _facts(fitted: FittedHead) -> dict[str, Any]:
    names = [*fitted.head.features]
    unserved = fitted.fit.coef[len(names) :]
    return {
        "coef": dict(zip(names, fitted.head.coef, strict=True)),
        "intercept": fitted.head.intercept,
        "of_own_level": unserved.tolist(),
        "ridge": fitted.ridge,
        "cross_validated_nll": {str(k): v for k, v in fitted.cross_validated_nll.items()},
        "largest_gradient": fitted.fit.gradient,
        "newton_steps": fitted.fit.steps,
    }


def _facts_of_pieces(fitted: FittedPieces | None) -> dict[str, Any] | None:
    if fitted is None:
        return None
    return {
        **fitted.line.model_dump(mode="json"),
        "ridge": fitted.ridge,
        "cross_validated_nll": {str(k): v for k, v in fitted.cross_validated_nll.items()},
    }


def _short(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Keep of our own measures what fits into the calibrator document."""
    keys = ("hits", "relevant", "base_rate", "expected_observed", "nll", "ece")
    return {name: {key: methods[OURS][key] for key in keys} for name, methods in groups.items()}


def _cdf(values: FloatArray, edges: tuple[float, ...]) -> dict[str, float]:
    ordered = np.sort(values)
    places = np.searchsorted(ordered, edges, side="right")
    shares = places / max(1, len(ordered))
    return {str(edge): float(share) for edge, share in zip(edges, shares, strict=True)}


def _load(text: str) -> Calibrator:
    return Calibrator(parse_calibrator(json.loads(text)))


def _write(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
