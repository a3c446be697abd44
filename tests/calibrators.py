"""Calibrator documents for tests."""

from __future__ import annotations

import json
from typing import Any

from app.core.calibration.calibrator import Calibrator
from app.core.calibration.document import dump_calibrator, parse_calibrator
from tests.fakes import FAKE_ENCODER_SPEC


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
