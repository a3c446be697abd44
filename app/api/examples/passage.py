"""Examples of passages and collections for the API description; tests send and parse them."""

from __future__ import annotations

import json
from typing import Any

_GERMAN: dict[str, Any] = {
    "id": "bicycle-puncture.de",
    "text": "Hält man den aufgepumpten Schlauch in einen Eimer Wasser, zeigen Bläschen das Loch.",
    "language": "de",
    "parallel_id": "bicycle-puncture",
    "metadata": {"source": "handbook"},
}
_ENGLISH: dict[str, Any] = {
    "id": "bicycle-puncture.en",
    "text": "Hold the inflated inner tube under water: bubbles show where the hole is.",
    "language": "en",
    "parallel_id": "bicycle-puncture",
}
_MANUAL: dict[str, Any] = {
    "id": "manual",
    "text": "Take the wheel off. Lever the tyre over the rim, and pull the inner tube out.",
    "split": {"max_characters": 1000, "overlap": 100},
}
_STORED: dict[str, Any] = {**_GERMAN, "document_id": None, "span": None}

STORE_REQUESTS: dict[str, Any] = {
    "passages": {"summary": "Two translations", "value": {"passages": [_GERMAN, _ENGLISH]}},
    "list": {"summary": "A bare list", "value": [_ENGLISH]},
    "document": {"summary": "A long text, to be split", "value": {"passages": [_MANUAL]}},
}
STORE_LINES: dict[str, Any] = {
    "lines": {
        "summary": "A passage a line",
        "value": "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in (_GERMAN, _ENGLISH)),
    },
}
STORE_ANSWERS: dict[str, Any] = {
    "new": {
        "summary": "Two new passages",
        "value": {"stored": 2, "created": 2, "updated": 0, "unchanged": 0},
    },
    "known": {
        "summary": "The same, sent again",
        "value": {"stored": 2, "created": 0, "updated": 0, "unchanged": 2},
    },
}
LINE_ANSWERS: dict[str, Any] = {
    "lines": {
        "summary": "A new line, a known one, a broken one",
        "value": '{"line":1,"id":"a","status":"created","language":"en"}\n'
        '{"line":2,"id":"b","status":"unchanged"}\n'
        '{"line":3,"status":"rejected","error":{"code":"malformed_json","detail":"The line is not '
        'JSON: expected ident at line 1 column 2."}}\n'
        '{"summary":{"received":3,"created":1,"updated":0,"unchanged":1,"rejected":1}}\n',
    },
}
PASSAGE_IDS: dict[str, Any] = {
    "passage": {"summary": "An id", "value": "bicycle-puncture.de"},
    "part": {"summary": "A part of a document that was split", "value": "manual#1"},
}
PASSAGE_ANSWERS: dict[str, Any] = {"passage": {"summary": "A passage", "value": _STORED}}
PAGE_ANSWERS: dict[str, Any] = {
    "page": {
        "summary": "A page with another one behind it",
        "value": {"passages": [_STORED], "next_cursor": "YmljeWNsZS1wdW5jdHVyZS5kZQ"},
    },
    "last": {"summary": "The last page", "value": {"passages": [_STORED], "next_cursor": None}},
}

_IN_GERMAN = {"must": [{"key": "language", "match": {"value": "de"}}]}
_TRANSLATED = {"must_not": [{"key": "parallel_id", "match": {"value": "advertisement"}}]}

LIST_FILTERS: dict[str, Any] = {
    "language": {"summary": "Passages in German", "value": json.dumps(_IN_GERMAN)},
}
COUNT_REQUESTS: dict[str, Any] = {
    "all": {"summary": "All passages", "value": {}},
    "language": {"summary": "Passages in German", "value": {"filter": _IN_GERMAN}},
}
COUNT_ANSWERS: dict[str, Any] = {"some": {"summary": "Twelve of them", "value": {"count": 12}}}
FACET_REQUESTS: dict[str, Any] = {
    "languages": {"summary": "Languages", "value": {"field": "language"}},
    "filtered": {
        "summary": "The most frequent one of some passages",
        "value": {"field": "language", "filter": _TRANSLATED, "limit": 1},
    },
}
FACET_ANSWERS: dict[str, Any] = {
    "languages": {
        "summary": "Two languages",
        "value": {
            "field": "language",
            "values": [{"value": "de", "count": 12}, {"value": "en", "count": 9}],
            "truncated": False,
        },
    },
}
DELETE_REQUESTS: dict[str, Any] = {
    "dry_run": {
        "summary": "How many would it be?",
        "value": {"filter": _IN_GERMAN, "dry_run": True},
    },
    "all": {
        "summary": "However many they are",
        "value": {"filter": _IN_GERMAN, "allow_all": True},
    },
}
DELETE_ANSWERS: dict[str, Any] = {
    "dry_run": {
        "summary": "What would be deleted",
        "value": {"matched": 12, "deleted": 0, "dry_run": True},
    },
    "deleted": {
        "summary": "What was deleted",
        "value": {"matched": 12, "deleted": 12, "dry_run": False},
    },
}

COLLECTION_NAMES: dict[str, Any] = {
    "default": {"summary": "The collection of a service as installed", "value": "passages"},
}
COLLECTION_ANSWERS: dict[str, Any] = {
    "collection": {
        "summary": "Three languages, one without labels",
        "value": {
            "name": "passages",
            "passages": 20,
            "indexed_passages": 0,
            "words_indexed": False,
            "engine": "qdrant-edge 0.9.0",
            "encoder": "4f2d9a7c1b3e",
            "calibrator": "9c1e7d20aa53",
            "hybrid_calibrator": None,
            "languages": [
                {"code": "de", "passages": 10, "share": 0.5, "calibration": "labels"},
                {"code": "en", "passages": 5, "share": 0.25, "calibration": "labels"},
                {"code": "sw", "passages": 5, "share": 0.25, "calibration": "fallback"},
            ],
            "labelled_share": 0.75,
            "fields": {
                "language": "keyword",
                "parallel_id": "keyword",
                "document_id": "keyword",
                "price": "float",
            },
        },
    },
}
