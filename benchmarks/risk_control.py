r"""Do thresholds keep their promises? Chosen on a third of the documents, measured on the others.

    python -m benchmarks.risk_control --model runs/export --calibration runs/calibration \
        --config training/configs/starter_calibration.toml --data-root DATA

One served list a document is kept, drawn at random for every split: lists of one document are not
independent, and the promises are about queries that are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from app.core.bundle import CALIBRATOR_FILE
from app.core.calibration.calibrator import Calibrator
from app.core.calibration.document import read_calibrator
from app.core.calibration.fit_thresholds import bound_hidden, bound_wrong
from app.core.types import BoolArray, FloatArray
from training.calibration_config import load_calibration_config
from training.calibration_data import CalibrationHits, build_pool, collect_hits, load_sets
from training.onnx_encoder import ExportedEncoder
from training.retrieval_set import RowArray

SPLITS = 200
CONFIDENCE = 0.9
CHOSEN_SHARE = 1 / 3


def main() -> None:
    """Print the realised risk of both kinds of thresholds."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "calibration", "config", "data-root"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    config = load_calibration_config(given.config)
    pool = build_pool(ExportedEncoder(given.model), load_sets(config, given.data_root), config)
    collected = collect_hits(pool, config)
    calibrator = Calibrator(read_calibrator(given.calibration / CALIBRATOR_FILE))
    print("| promise | mean realised | splits above target | no threshold | threshold | kept |")
    print("| --- | --- | --- | --- | --- | --- |")
    for target in (0.1, 0.2):
        print(_row(f"at most {target:g} hidden", target, hidden(collected, calibrator, target)))
    for target in (0.2, 0.3):
        said = f"at most {target:g} wrong, confidence {CONFIDENCE:g}"
        print(_row(said, target, wrong(collected, calibrator, target)))


def hidden(collected: CalibrationHits, calibrator: Calibrator, target: float) -> FloatArray:
    """Return realised share of hidden relevant hits, threshold and share of hits shown."""
    hits = collected.where(collected.answered).hits
    stated = calibrator.hit_probability(hits.features())
    rows = []
    for rng in _generators():
        chosen, held_out = _parts(hits.query, hits.cluster, rng)
        found = bound_hidden(
            stated[chosen], hits.relevant[chosen], hits.query[chosen], target=target
        )
        if found is None:
            continue
        shown = stated[held_out] >= found.value
        relevant, query = hits.relevant[held_out], hits.query[held_out]
        _, number, counts = np.unique(query[relevant], return_inverse=True, return_counts=True)
        lost = np.bincount(number, weights=~shown[relevant]) / counts
        rows.append((lost.mean(), found.value, shown.mean()))
    return np.array(rows)


def wrong(collected: CalibrationHits, calibrator: Calibrator, target: float) -> FloatArray:
    """Return realised share of wrong answers, threshold and share of queries answered."""
    first = collected.hits.where(collected.hits.rank == 1)
    stated = calibrator.first_hit_probability(first.first_hit_columns())
    rows = []
    for rng in _generators():
        chosen, held_out = _parts(first.query, first.cluster, rng)
        found = bound_wrong(
            stated[chosen], first.relevant[chosen], target=target, confidence=CONFIDENCE
        )
        if found is None:
            continue
        answered = stated[held_out] >= found.value
        failed = ~first.relevant[held_out][answered]
        rows.append((failed.mean(), found.value, answered.mean()))
    return np.array(rows)


def _generators() -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(SPLITS)]


def _parts(
    query: RowArray, document: RowArray, rng: np.random.Generator
) -> tuple[BoolArray, BoolArray]:
    """Keep one list a document, and say which documents are in the first part."""
    lists, first = np.unique(query, return_index=True)
    order = rng.permutation(len(lists))
    documents, kept = np.unique(document[first[order]], return_index=True)
    in_first = rng.random(len(documents)) < CHOSEN_SHARE
    mine = lists[order][kept]
    return np.isin(query, mine[in_first]), np.isin(query, mine[~in_first])


def _row(promise: str, target: float, rows: FloatArray) -> str:
    if not len(rows):
        return f"| {promise} | – | – | {SPLITS} | – | – |"
    realised, threshold, kept = rows.T
    return (
        f"| {promise} | {realised.mean():.4f} | {(realised > target).sum()} of {SPLITS} "
        f"| {SPLITS - len(rows)} "
        f"| {threshold.mean():.3f} | {kept.mean():.2f} |"
    )


if __name__ == "__main__":
    main()
