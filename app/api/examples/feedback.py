"""Examples of feedback for the API description."""

from __future__ import annotations

from typing import Any

SIGNED = (
    "AbehwtPk9QYXKDlKW2x9jp-cHn0gqlNrSdIAAAE_7R64UeuFHz9VjiI-0euFAAAy1gABPeFHrgAAAAAA"
    "AASfAAAAAD-AAAAAAAAAAAAAAAAAAAAAAAACZGUAAmVuAAAAC3B1bmN0dXJlLmVuhqtpmkjp3AJ2rkGM"
    "3n9rrg"
)
"""A token, of another key than any service has."""

_KEPT = {
    "status": "accepted",
    "reason": None,
    "query_id": "b7a1c2d3e4f5061728394a5b6c7d8e9f",
    "id": "puncture.en",
    "relevant": True,
}

FEEDBACK_REQUESTS: dict[str, Any] = {
    "relevant": {"summary": "It answers", "value": {"token": SIGNED, "relevant": True}},
    "taken_back": {
        "summary": "An earlier label was a mistake",
        "value": {"token": SIGNED, "relevant": None},
    },
    "click": {"summary": "It was opened", "value": {"token": SIGNED, "source": "click"}},
}
FEEDBACK_ANSWERS: dict[str, Any] = {
    "accepted": {"summary": "Kept", "value": _KEPT},
    "duplicate": {
        "summary": "The same was said before",
        "value": {**_KEPT, "status": "duplicate"},
    },
    "taken_back": {"summary": "Taken back", "value": {**_KEPT, "relevant": None}},
}
BATCH_REQUESTS: dict[str, Any] = {
    "judged": {
        "summary": "Judgements of an assessor",
        "value": {
            "feedback": [
                {"token": SIGNED, "relevant": True, "source": "judged"},
                {"token": "not-a-token", "relevant": False, "source": "judged"},
            ]
        },
    },
}
BATCH_ANSWERS: dict[str, Any] = {
    "judged": {
        "summary": "One kept, one not signed here",
        "value": {
            "results": [
                _KEPT,
                {
                    "status": "rejected",
                    "reason": "forged",
                    "query_id": None,
                    "id": None,
                    "relevant": None,
                },
            ],
            "accepted": 1,
            "duplicates": 0,
            "rejected": 1,
        },
    },
}
