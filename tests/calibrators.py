"""Calibrator documents for tests."""

from __future__ import annotations

import json
from typing import Any

from app.core.calibration.calibrator import Calibrator
from app.core.calibration.document import dump_calibrator, parse_calibrator
from tests.fakes import FAKE_ENCODER_SPEC

PIECES: dict[str, Any] = {"knots": [0.2, 0.4, 0.6], "slopes": [2.0, 1.3, 0.6, 0.02]}
"""Steep at first and nearly level at the end, as fits find it."""


def calibrator_content(**changes: Any) -> dict[str, Any]:
    """A valid document without id, with members replaced."""
    content: dict[str, Any] = {
        "schema": 1,
        "kind": "logit-linear",
        "encoder": {
            "name": FAKE_ENCODER_SPEC.name,
            "fingerprint": FAKE_ENCODER_SPEC.fingerprint(),
            "dtype": "float32",
        },
        "score": "cosine",
        "depth": 20,
        "background": {"from_rank": 21, "to_rank": 60},
        "hit": {
            "features": ["score", "background", "log_corpus", "same", "same*score"],
            "coef": [12.0, -6.0, -0.5, 1.0, 2.0],
            "intercept": -3.0,
        },
        "pooled": {
            "features": ["score", "background", "log_corpus"],
            "coef": [13.0, -6.0, -0.5],
            "intercept": -2.5,
        },
        "first_hit": {
            "features": ["score", "gap", "background", "log_corpus", "same"],
            "coef": [10.0, 5.0, -4.0, -0.4, 0.5],
            "intercept": -2.0,
        },
        "clip": [0.0001, 0.9999],
        "trained_range": {"score": [-0.2, 0.95], "corpus": [3, 10_000]},
        "fit": {
            "hits": 100,
            "queries": 10,
            "relevant": 20,
            "languages": ["de", "en"],
            "corpus_sizes": [60, 1000],
            "data_sha256": "0" * 64,
            "nll": [0.5, 0.3],
        },
        "metrics": {},
    }
    return {**content, **changes}


def make_calibrator(**changes: Any) -> Calibrator:
    """A working calibrator, with members of its document replaced."""
    return Calibrator(parse_calibrator(json.loads(dump_calibrator(calibrator_content(**changes)))))


def measured_content(**changes: Any) -> dict[str, Any]:
    """A valid document without id that has every optional member, with members replaced."""
    content = calibrator_content()
    for name in ("hit", "pooled", "first_hit"):
        size = len(content[name]["features"]) + 1
        content[name]["covariance"] = [
            [0.04 if column == row else 0.01 for column in range(row + 1)] for row in range(size)
        ]
    threshold = {
        "kind": "ltt",
        "value": 0.4,
        "target": 0.1,
        "confidence": 0.95,
        "n": 500,
        "scope": "held-out queries of the tests",
        "guarantee": "Of the queries that are answered, at most 10 % have a first hit that is not "
        "relevant, with 95 % confidence.",
    }
    bins = [
        {"hits": 60, "stated": 0.12, "found": {"value": 0.1, "low": 0.05, "high": 0.2}},
        {"hits": 40, "stated": 0.7, "found": {"value": 0.72, "low": 0.6, "high": 0.8}},
    ]
    return {
        **content,
        "fit": {**content["fit"], "source": "judgements", "towards": "0001a8422cb8"},
        "interval": {
            "level": 0.9,
            "method": "cluster-bootstrap",
            "clusters": "document",
            "draws": 200,
        },
        "language_offsets": {
            "query": {"de": {"intercept": -0.2, "slope": 0.5, "sd": 0.1}},
            "passage": {"en": {"intercept": 0.3, "slope": -0.4, "sd": 0.15}},
            "unlisted_query_sd": 0.5,
            "unlisted_passage_sd": 0.4,
        },
        "thresholds": {
            "answer": threshold,
            "hits": {**threshold, "kind": "crc", "confidence": None, "value": 0.05},
        },
        "evidence": {
            "data": "held-out queries of the tests",
            "reliability": {"all": bins, "same": bins, "cross": bins},
            "before": {"all": bins},
            "pairs": [{"query": "de", "passage": "en", "hits": 100, "relevant": 20}],
            "growth": [
                {
                    "calibrator": "logit-linear",
                    "relation": "same",
                    "corpus": 1000,
                    "expected_observed": {"value": 1.02, "low": 0.9, "high": 1.1},
                }
            ],
            "compared": [{"name": "this", "nll": {"value": 0.3}}],
        },
        **changes,
    }


HYBRID: dict[str, Any] = {
    "retrieval": "hybrid",
    "hit": {
        "features": [
            "score",
            "background",
            "log_corpus",
            "log_language_rank",
            "language_lead",
            "language_lag",
            "same",
            "same*language_lag",
            "log_lexical_rank",
            "same*log_lexical_rank",
        ],
        "coef": [9.0, -6.0, -0.3, -0.6, 1.0, -0.5, 0.2, 0.3, -0.1, -0.5],
        "intercept": -1.5,
    },
    "pooled": {
        "features": ["score", "background", "log_corpus", "log_lexical_rank"],
        "coef": [13.0, -6.0, -0.5, -0.3],
        "intercept": -2.0,
    },
}
"""What makes ``calibrator_content`` a document for hybrid lists."""


def hybrid_calibrator(**changes: Any) -> Calibrator:
    """A working calibrator of hybrid lists, with members of its document replaced."""
    return make_calibrator(**{**HYBRID, **changes})
