"""What a calibrator document carries beside its parameters: thresholds with a promise, evidence.

Both come from the sets that the calibrator was fitted on, each document stated by fits without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from app.core.calibration.evidence import (
    Comparison,
    Estimate,
    Evidence,
    GrowthPoint,
    PairEvidence,
    ReliabilityBin,
)
from app.core.calibration.fit_thresholds import answer_threshold, hit_threshold
from app.core.calibration.parts import Thresholds
from app.core.types import BoolArray
from training.calibration_config import CalibrationConfig
from training.calibration_folds import CrossFitted, one_list_a_document
from training.evaluate_calibration import MIN_HITS, OURS, groups_of, measure_pairs
from training.metrics.calibration import measure, reliability_bins

BINS = 10


def choose_thresholds(cross: CrossFitted, config: CalibrationConfig) -> Thresholds:
    """Return the thresholds that keep the promises of the configuration, where some do."""
    hits, rng = cross.collected.hits, np.random.default_rng(config.seed)
    _, lists = one_list_a_document(hits.query, hits.cluster, rng)
    drawn = np.isin(hits.query, lists)
    best = cross.where(drawn & (hits.rank == 1))
    answered = cross.where(drawn & cross.collected.answered)
    sizes = cross.collected.corpus_sizes
    scope = (
        f"one question a document of the {len(config.sources)} development sets, by fits without "
        f"it; {sizes[0]:,} to {sizes[-1]:,} passages, no answer to a share of "
        f"{config.unanswered_share:g}"
    )
    answer = None
    if config.retrieval == "dense":  # the best-scoring hit may be wrong where words find the answer
        answer = answer_threshold(
            best.first_hit,
            best.collected.hits.relevant,
            target=config.answer_wrong,
            confidence=config.answer_confidence,
            scope=scope,
        )
    return Thresholds(
        answer=answer,
        hits=hit_threshold(
            answered.stated[OURS],
            answered.collected.hits.relevant,
            answered.collected.hits.query,
            target=config.hidden,
            scope=f"{scope}; those with an answer among the first hits",
        ),
    )


def gather_evidence(cross: CrossFitted, config: CalibrationConfig) -> Evidence:
    """Return what was measured on lists whose corpus holds an answer.

    Sources with a level of their own are looked at only where the others hold too few hits: their
    judgements mean something else than the probability that is served.
    """
    answered = cross.where(cross.collected.answered)
    coarse = [number for number, source in enumerate(config.sources) if source.own_level]
    fine = ~np.isin(answered.collected.source, coarse)
    data = f"the {len(config.sources)} development sets, each document by fits without it"
    if coarse:
        data += (
            f". {' and '.join(config.sources[number].label for number in coarse)} are looked at "
            "only where the others hold too few hits, which goes for all pairs of different "
            "languages: their judgements are coarser, and their level is not the one that is stated"
        )
    return Evidence(
        data=data,
        reliability=_reliability(answered, fine),
        pairs=_pairs(answered, fine),
        growth=_growth(answered, fine),
        compared=_compared(answered.where(_finest(np.ones_like(fine), fine))),
    )


def _finest(mask: BoolArray, fine: BoolArray) -> BoolArray:
    """Return the rows to look at: fine ones if there are enough."""
    return mask & fine if (mask & fine).sum() >= MIN_HITS else mask


def _reliability(cross: CrossFitted, fine: BoolArray) -> dict[str, tuple[ReliabilityBin, ...]]:
    groups = groups_of(cross.collected.hits, languages=True)
    return {
        name: _bins(cross, _finest(mask, fine))
        for name, mask in groups.items()
        if mask.sum() >= MIN_HITS and name != "all" and "/rank" not in name
    }


def _bins(cross: CrossFitted, mask: BoolArray) -> tuple[ReliabilityBin, ...]:
    hits = cross.collected.hits
    found = reliability_bins(
        cross.stated[OURS][mask], hits.relevant[mask], hits.cluster[mask], bins=BINS
    )
    return tuple(
        ReliabilityBin(hits=count, stated=stated, found=_estimate(share.to_json()))
        for count, stated, share in found
    )


def _pairs(cross: CrossFitted, fine: BoolArray) -> tuple[PairEvidence, ...]:
    hits = cross.collected.hits
    every = measure_pairs(hits, cross.stated[OURS])
    every |= measure_pairs(hits.where(fine), cross.stated[OURS][fine])
    return tuple(
        PairEvidence(
            query=pair.partition(">")[0],
            passage=pair.partition(">")[2],
            hits=found["hits"],
            relevant=found["relevant"],
            expected_observed=_known(found["expected_observed"]),
            ece=_known(found["ece"]),
        )
        for pair, found in every.items()
    )


def _growth(cross: CrossFitted, fine: BoolArray) -> tuple[GrowthPoint, ...]:
    hits = cross.collected.hits
    points = []
    for size in cross.collected.corpus_sizes:
        for relation, of_relation in {"same": hits.same, "cross": ~hits.same}.items():
            rows = _finest(of_relation & (hits.corpus == size), fine)
            if rows.sum() < MIN_HITS or not hits.relevant[rows].any():
                continue
            for name, found in _measured(cross.where(rows)).items():
                ratio, ece = found["expected_observed"], found["ece"]
                points.append(
                    GrowthPoint(
                        calibrator=name,
                        relation=relation,
                        corpus=size,
                        expected_observed=_estimate(ratio),
                        ece=_estimate(ece),
                    )
                )
    return tuple(points)


def _compared(cross: CrossFitted) -> tuple[Comparison, ...]:
    measures = ("nll", "brier", "ece", "expected_observed")
    return tuple(
        Comparison(name=name, **{key: _known(found[key]) for key in measures})
        for name, found in _measured(cross).items()
    )


def _measured(cross: CrossFitted) -> dict[str, dict[str, Any]]:
    """Return name of a calibrator to what is measured of its probabilities."""
    hits = cross.collected.hits
    return {
        "this" if name == OURS else name: measure(stated, hits.relevant, hits.cluster).to_json()
        for name, stated in cross.stated.items()
    }


def _known(raw: Mapping[str, Any]) -> Estimate | None:
    return None if raw["value"] is None else _estimate(raw)


def _estimate(raw: Any) -> Estimate:  # noqa: ANN401 - JSON of ``training.metrics.bootstrap``
    return Estimate(**raw)
