r"""Do thresholds keep their promises? Chosen on a third of the documents, measured on the others.

    python -m benchmarks.risk_control --model runs/export \
        --config training/configs/starter_calibration.toml --data-root DATA

Every document is stated by fits without it, as for the thresholds of a bundle. A threshold is
chosen on one served list a document, drawn at random for every split: lists of one document are
not independent, and the promises are about queries that are. What it does is measured on all lists
of the other documents, which share the weight of their document.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from app.core.calibration.document import EncoderBinding
from app.core.calibration.fit_thresholds import bound_hidden, bound_wrong
from app.core.types import BoolArray, FloatArray
from training.calibrate import fit_heads
from training.calibration_config import load_calibration_config
from training.calibration_data import build_pool, collect_hits, load_sets
from training.calibration_folds import CrossFitted, cross_fit, one_list_a_document
from training.evaluate_calibration import OURS
from training.onnx_encoder import ExportedEncoder
from training.served import HitTable

CONFIDENCE = 0.9
CHOSEN_SHARE = 1 / 3


def main() -> None:
    """Print the realised risk of both kinds of thresholds."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "config", "data-root"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=200)
    given = parser.parse_args()
    config = load_calibration_config(given.config)
    encoder = ExportedEncoder(given.model)
    pool = build_pool(encoder, load_sets(config, given.data_root), config)
    collected = collect_hits(pool, config)
    binding = EncoderBinding(
        name=encoder.spec.name, fingerprint=encoder.spec.fingerprint(), dtype=encoder.arithmetic
    )
    cross = cross_fit(collected, config, fit_heads(collected, config), binding)
    print("| promise | mean realised | splits above target | no threshold | threshold | kept |")
    print("| --- | --- | --- | --- | --- | --- |")
    for target in (0.1, 0.2):
        rows = hidden(cross, target, given.splits)
        print(_row(f"at most {target:g} hidden", target, rows, given.splits))
    for target in (0.2, 0.3, 0.4):
        rows = wrong(cross, target, given.splits)
        said = f"at most {target:g} wrong, confidence {CONFIDENCE:g}"
        print(_row(said, target, rows, given.splits))


def hidden(cross: CrossFitted, target: float, splits: int) -> FloatArray:
    """Return realised share of hidden relevant hits, threshold and share of hits shown."""
    answered = cross.where(cross.collected.answered)
    hits, stated = answered.collected.hits, answered.stated[OURS]
    found_in, relevant_of = np.unique(hits.query[hits.relevant], return_counts=True)
    share = 1.0 / relevant_of[np.searchsorted(found_in, hits.query[hits.relevant])]
    rows = []
    for chosen, weight in _splits(hits, splits):
        found = bound_hidden(
            stated[chosen], hits.relevant[chosen], hits.query[chosen], target=target
        )
        if found is None:
            continue
        lost = (stated < found.value)[hits.relevant]
        counted = weight[hits.relevant] * share
        shown = np.average(stated >= found.value, weights=weight)
        rows.append((counted @ lost / counted.sum(), found.value, shown))
    return np.array(rows)


def wrong(cross: CrossFitted, target: float, splits: int) -> FloatArray:
    """Return realised share of wrong answers, threshold and share of queries answered."""
    best = cross.where(cross.collected.hits.rank == 1)
    first, stated = best.collected.hits, best.first_hit
    rows = []
    for chosen, weight in _splits(first, splits):
        found = bound_wrong(
            stated[chosen], first.relevant[chosen], target=target, confidence=CONFIDENCE
        )
        if found is None:
            continue
        answered = weight * (stated >= found.value)
        failed = answered @ ~first.relevant / answered.sum()
        rows.append((failed, found.value, answered.sum() / weight.sum()))
    return np.array(rows)


def _splits(hits: HitTable, splits: int) -> Iterator[tuple[BoolArray, FloatArray]]:
    """Yield which hits a threshold is chosen on, and the weights of those it is measured on."""
    _, first, place = np.unique(hits.query, return_index=True, return_inverse=True)
    _, document, sizes = np.unique(hits.cluster[first], return_inverse=True, return_counts=True)
    weight = (1.0 / sizes[document])[place]
    for seed in range(splits):
        rng = np.random.default_rng(seed)
        documents, drawn = one_list_a_document(hits.query, hits.cluster, rng)
        in_first = rng.random(len(documents)) < CHOSEN_SHARE
        others = np.isin(hits.cluster, documents[~in_first])
        yield np.isin(hits.query, drawn[in_first]), np.where(others, weight, 0.0)


def _row(promise: str, target: float, rows: FloatArray, splits: int) -> str:
    if not len(rows):
        return f"| {promise} | – | – | {splits} | – | – |"
    realised, threshold, kept = rows.T
    return (
        f"| {promise} | {realised.mean():.4f} | {(realised > target).sum()} of {splits} "
        f"| {splits - len(rows)} "
        f"| {threshold.mean():.3f} | {kept.mean():.2f} |"
    )


if __name__ == "__main__":
    main()
