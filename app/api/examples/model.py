"""Examples of what is said about the model, and of other services' endpoints; tests parse them."""

from __future__ import annotations

from typing import Any

_BUNDLE = "starter@0123456789ab"
_PARALLEL: dict[str, Any] = {
    "comparisons": 240,
    "rank_distance": 3.1,
    "relative_rank_distance": 0.031,
    "language_preference_rate": 0.41,
    "expected_language_preference_rate": 0.39,
    "peer": 0.47,
    "same_language": {
        "queries": 200,
        "groups": 80,
        "advantage": 0.04,
        "z": 0.6,
        "flagged": False,
    },
    "languages": {
        "en": {"queries": 200, "groups": 80, "advantage": 0.02, "z": 0.3, "flagged": False}
    },
    "z_threshold": 4.24,
    "flagged": False,
}

EMBEDDING_ANSWERS: dict[str, Any] = {
    "float": {
        "summary": "A vector; real ones are longer",
        "value": {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.6, -0.8]}],
            "model": _BUNDLE,
            "usage": {"prompt_tokens": 11, "total_tokens": 11},
        },
    },
    "base64": {
        "summary": "The same vector in base64",
        "value": {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": "mpkZP83MTL8="}],
            "model": _BUNDLE,
            "usage": {"prompt_tokens": 11, "total_tokens": 11},
        },
    },
}
RERANK_ANSWERS: dict[str, Any] = {
    "texts": {
        "summary": "The more probable of two documents",
        "value": {
            "id": "5b1f7c0e9d8a4f2b8c6d3e1a0f9b8c7d",
            "model": _BUNDLE,
            "results": [
                {
                    "index": 0,
                    "relevance_score": 0.87,
                    "document": None,
                    "score": 0.7912,
                    "probability_source": "relation:same",
                    "extrapolated": True,
                    "language": "en",
                }
            ],
            "usage": {"total_tokens": 21},
        },
    },
}
LANGUAGE_REPORTS: dict[str, Any] = {
    "unbiased": {
        "summary": "Translations were treated alike",
        "value": {
            "answers": 300,
            "capacity": 1000,
            "query_languages": {"de": 180, "en": 120},
            "exposure": {"de": 0.52, "en": 0.48},
            "corpus_share": {"de": 0.5, "en": 0.5},
            "exposure_lift": {"de": 1.04, "en": 0.96},
            "same_language": {
                "answers": 300,
                "hits": 0.51,
                "corpus": 0.5,
                "standard_error": 0.012,
            },
            "rank_agreement_with_score_order": 0.98,
            "score_offset": {"de>en": -0.031},
            "by_score": _PARALLEL,
            "by_probability": _PARALLEL,
        },
    },
}
READY_ANSWERS: dict[str, Any] = {
    "ready": {
        "summary": "Ready, with twenty passages",
        "value": {
            "status": "ready",
            "model": {
                "bundle": _BUNDLE,
                "encoder": "4f2d9a7c1b3e",
                "calibrator": "9c1e7d20aa53",
                "collection": "passages",
            },
            "engine": "qdrant-edge 0.9.0",
            "passages": 20,
            "indexed_passages": 0,
        },
    },
}
LIVE_ANSWERS: dict[str, Any] = {"live": {"summary": "Alive", "value": {"status": "live"}}}
METRICS_ANSWERS: dict[str, Any] = {
    "counter": {
        "summary": "One of the counters",
        "value": "# HELP isoglot_http_requests_total HTTP requests answered, by class of status "
        "(2xx, 3xx, 4xx, 5xx).\n"
        "# TYPE isoglot_http_requests_total counter\n"
        'isoglot_http_requests_total{method="POST",route="/v1/search",status="2xx"} 3.0\n',
    },
}
BUNDLE_ANSWERS: dict[str, Any] = {
    "bundle": {
        "summary": "An encoder and its calibrator",
        "value": {
            "id": "0123456789ab" + "0" * 52,
            "name": "starter",
            "languages": ["de", "en"],
            "encoder": {
                "name": "starter",
                "base_model": "static",
                "fingerprint": "4f2d9a7c1b3e",
                "dim": 256,
                "max_length": 256,
                "pooling": "mean",
                "dtype": "float32",
                "arithmetic": ["float32", "int8"],
                "engine": "onnx-int8",
            },
            "calibrator": {
                "id": "9c1e7d20aa53",
                "kind": "logit-linear",
                "hits": 40000,
                "queries": 2000,
                "relevant": 2600,
                "languages": ["de", "en"],
                "corpus_sizes": [1000, 10000],
                "score_range": [-0.2, 0.97],
                "corpus_range": [1000.0, 10000.0],
                "nll_before": 0.241,
                "nll_after": 0.118,
            },
        },
    },
}
PROBLEM_CODES: dict[str, Any] = {
    "cursor": {"summary": "A code of a problem body", "value": "cursor_expired"},
}
PROBLEM_ANSWERS: dict[str, Any] = {
    "cursor": {
        "summary": "A kind of problem",
        "value": {
            "code": "cursor_expired",
            "status": 410,
            "title": "Cursor expired",
            "explanation": "The answer that the cursor continues is not kept any more. Search "
            "again without a cursor.",
        },
    },
}

CALIBRATIONS: dict[str, Any] = {
    "own": {
        "summary": "A calibrator fitted on judgements of one's own",
        "value": {
            "retrieval": "dense",
            "calibrator": "9c1e7d20aa53",
            "kind": "logit-linear",
            "encoder": "4f2d9a7c1b3e",
            "heads": {
                "hit": {
                    "features": ["score", "background"],
                    "coef": [7.4, -8.6],
                    "intercept": -0.01,
                    "standard_errors": [0.3, 0.5, 0.1],
                }
            },
            "score_pieces": {"knots": [0.3, 0.5], "slopes": [1.6, 1.1, 0.3]},
            "score_range": [0.04, 1.0],
            "corpus_range": [250.0, 37931.0],
            "fit": {
                "source": "judgements",
                "towards": "0001a8422cb8",
                "fitted": "2026-11-26",
                "hits": 200,
                "queries": 40,
                "relevant": 61,
                "languages": ["de", "en"],
                "corpus_sizes": [5000],
                "data_sha256": "0" * 64,
                "nll": [0.62, 0.41],
            },
            "interval": {
                "level": 0.9,
                "method": "cluster-bootstrap",
                "clusters": "query",
                "draws": 200,
            },
            "language_offsets": {
                "query": {},
                "passage": {},
                "unlisted_query_sd": 0.0,
                "unlisted_passage_sd": 0.0,
            },
            "thresholds": {"answer": None, "hits": None},
            "metrics": {},
            "evidence": None,
        },
    },
}

CALIBRATION_DOCUMENTS: dict[str, Any] = {
    "own": {
        "summary": "The head of a calibrator document; most of it is left out here",
        "value": {
            "schema": 1,
            "id": "9c1e7d20aa53",
            "kind": "logit-linear",
            "encoder": {"fingerprint": "4f2d9a7c1b3e"},
            "score": "cosine",
            "depth": 20,
        },
    },
}
