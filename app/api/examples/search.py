"""Examples for the API description; a test sends the requests and parses the responses."""

from __future__ import annotations

from typing import Any

from app.api.examples.feedback import SIGNED

SEARCH_REQUESTS: dict[str, Any] = {
    "question": {
        "summary": "A question",
        "description": "Asked in German, answered from passages in any language.",
        "value": {
            "query": "Wie finde ich das Loch im Fahrradschlauch?",
            "limit": 3,
            "diagnostics": ["language"],
        },
    },
    "abstention": {
        "summary": "Only what is probably relevant",
        "description": "Hits below the given probability are left out, if need be all of them.",
        "value": {
            "query": "Who painted the ceiling of the Paris opera?",
            "language": {"query": "en", "passages": ["en", "fr"]},
            "min_probability": 0.5,
        },
    },
    "hybrid": {
        "summary": "By words, too",
        "description": "For names, numbers and codes, whose meaning no encoder knows. Needs a "
        "collection whose words are indexed (`ISOGLOT_HYBRID`).",
        "value": {
            "query": "spare part E1047",
            "retrieval": "hybrid",
            "limit": 1,
            "explain": "basic",
        },
    },
    "mixed": {
        "summary": "Own language first, of several that are read",
        "description": "Ordered by weight times probability. The probabilities stay what they are; "
        "`explain` says where they come from.",
        "value": {
            "query": "Wie finde ich das Loch im Fahrradschlauch?",
            "language": {"mode": "prefer", "prefer": {"de": 1.0, "en": 0.4, "*": 0.1}},
            "filter": {"must_not": [{"key": "parallel_id", "match": {"value": "advertisement"}}]},
            "target_precision": 0.3,
            "include": ["text", "highlights"],
            "explain": "full",
            "diagnostics": ["calibration", "timing"],
            "timeout_ms": 5000,
            "on_timeout": "degraded",
        },
    },
}

_MODEL = {
    "bundle": "starter@0123456789ab",
    "encoder": "4f2d9a7c1b3e",
    "calibrator": "9c1e7d20aa53",
    "collection": "passages",
}

_THRESHOLD = {
    "value": 0.62,
    "kind": "ltt",
    "target": 0.1,
    "confidence": 0.95,
    "n": 800,
    "scope": "held-out queries of the development sets, 250 to 37,931 passages",
    "guarantee": "Of the queries that are answered, at most 10 % have a first hit that is not "
    "relevant, with 95 % confidence.",
}

SEARCH_RESPONSES: dict[str, Any] = {
    "question": {
        "summary": "A hit in another language",
        "value": {
            "query_id": "b7a1c2d3e4f5061728394a5b6c7d8e9f",
            "outcome": "ok",
            "answerable_probability": 0.93,
            "answer_threshold": _THRESHOLD,
            "expected_relevant": 0.91,
            "hits": [
                {
                    "id": "bicycle-puncture.es",
                    "rank": 1,
                    "probability": 0.91,
                    "probability_interval": [0.86, 0.94],
                    "probability_source": "relation:cross",
                    "extrapolated": False,
                    "score": 0.8342,
                    "score_kind": "cosine",
                    "lexical_score": None,
                    "language": {"code": "es"},
                    "text": "Con la cámara inflada dentro de un cubo de agua, las burbujas "
                    "muestran dónde está el pinchazo.",
                    "parallel_id": "bicycle-puncture",
                    "metadata": {},
                    "highlights": None,
                    "explanation": None,
                    "feedback_token": SIGNED,
                }
            ],
            "page": {
                "limit": 3,
                "offset": 0,
                "returned": 1,
                "candidates": 1,
                "relation": "eq",
                "dropped_below_min_probability": 0,
                "dropped_by_target_precision": 0,
                "next_cursor": None,
            },
            "query_language": {
                "code": "de",
                "confidence": 0.99,
                "source": "detected",
                "alternatives": [{"code": "nl", "confidence": 0.01}],
            },
            "diagnostics": {
                "language": {
                    "exposure": {"es": 1.0},
                    "corpus_share": {"es": 1.0},
                    "exposure_lift": {"es": 1.0},
                    "score_offset": {"de>es": -0.031},
                    "same_language_share": 0.0,
                    "rank_agreement_with_score_order": None,
                    "filtered_corpus_size": 1,
                },
                "calibration": None,
                "timing": None,
            },
            "model": _MODEL,
            "warnings": [],
            "took_ms": 3.2,
        },
    },
    "abstention": {
        "summary": "Nothing here answers this",
        "value": {
            "query_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
            "outcome": "no_confident_match",
            "answerable_probability": 0.03,
            "answer_threshold": _THRESHOLD,
            "expected_relevant": 0.0,
            "hits": [],
            "page": {
                "limit": 10,
                "offset": 0,
                "returned": 0,
                "candidates": 100,
                "relation": "gte",
                "dropped_below_min_probability": 100,
                "dropped_by_target_precision": 0,
                "next_cursor": None,
            },
            "query_language": {
                "code": "en",
                "confidence": 1.0,
                "source": "declared",
                "alternatives": [],
            },
            "diagnostics": None,
            "model": _MODEL,
            "warnings": [],
            "took_ms": 2.9,
        },
    },
}

SEARCH_RESPONSES["hybrid"] = {
    "summary": "Found by a word",
    "value": {
        **SEARCH_RESPONSES["abstention"]["value"],
        "query_id": "7d6c5b4a39281706f5e4d3c2b1a09f8e",
        "outcome": "ok",
        "answerable_probability": None,
        "answer_threshold": None,
        "expected_relevant": None,
        "hits": [
            {
                **SEARCH_RESPONSES["question"]["value"]["hits"][0],
                "id": "parts-17",
                "probability": None,
                "probability_interval": None,
                "probability_source": "uncalibrated",
                "score": 0.2117,
                "lexical_score": 7.31,
                "language": {"code": "en"},
                "text": "E1047: valve cap, aluminium, black",
                "parallel_id": None,
                "explanation": {
                    "calibrator": None,
                    "rank_before": 141,
                    "lexical_rank": 1,
                    "fusion": 1 / 201 + 1 / 61,
                    "rank_after": 1,
                    "language_weight": 1.0,
                    "heads": [],
                },
                "feedback_token": None,
            }
        ],
        "page": {
            "limit": 1,
            "offset": 0,
            "returned": 1,
            "candidates": 143,
            "relation": "gte",
            "dropped_below_min_probability": 0,
            "dropped_by_target_precision": 0,
            "next_cursor": "ARNjC4fvTkYNuFBGnBSDFBAAAAABjgHP2g",
        },
        "model": {**_MODEL, "calibrator": None},
        "warnings": [
            {
                "code": "no_hybrid_calibrator",
                "detail": "The loaded bundle has no calibrator of what is found by vector and by "
                "words together; probability is null, and hits are ordered by reciprocal rank "
                "fusion.",
            }
        ],
    },
}

BATCH_REQUESTS: dict[str, Any] = {
    "two": {
        "summary": "Two questions, one of which cannot be answered",
        "value": {
            "searches": [
                SEARCH_REQUESTS["abstention"]["value"],
                {"query": "Wie finde ich das Loch im Fahrradschlauch?", "limit": 1000},
            ]
        },
    },
}

BATCH_RESPONSES: dict[str, Any] = {
    "two": {
        "summary": "A response and a problem",
        "value": {
            "results": [
                {
                    "status": 200,
                    "response": SEARCH_RESPONSES["abstention"]["value"],
                    "problem": None,
                },
                {
                    "status": 422,
                    "response": None,
                    "problem": {
                        "type": "/problems/invalid_input",
                        "title": "Invalid input",
                        "status": 422,
                        "detail": "limit is 1000; it must be 1 to 100.",
                        "instance": "/v1/search:batch",
                        "code": "invalid_input",
                        "request_id": "5b1f7c0e9d8a4f2b8c6d3e1a0f9b8c7d",
                        "errors": [
                            {
                                "pointer": "/limit",
                                "code": "invalid_input",
                                "detail": "limit is 1000; it must be 1 to 100.",
                            }
                        ],
                    },
                },
            ],
            "took_ms": 6.1,
        },
    },
}
