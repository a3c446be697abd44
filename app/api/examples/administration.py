"""Examples of what an operator sends and gets; tests parse them."""

from __future__ import annotations

from typing import Any

PLACES: dict[str, Any] = {
    "directory": {
        "summary": "A directory on the machine of the service",
        "value": {"directory": "/srv/bundles/2026-11"},
    }
}

LOADED_ANSWERS: dict[str, Any] = {
    "loaded": {
        "summary": "Another calibrator",
        "value": {"bundle": "starter@0123456789ab", "calibrator": "3f9a1c07d2b4"},
    }
}

REINDEXING_ANSWERS: dict[str, Any] = {
    "running": {
        "summary": "A third is copied",
        "value": {
            "state": "running",
            "phase": "copying",
            "bundle": "large@ba9876543210",
            "collection": "passages@5d0c33e1a4f7",
            "passages": 90000,
            "compared": 30208,
            "embedded": 30208,
            "removed": 0,
            "error": None,
        },
    }
}
