"""API keys for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from app.adapters.key_file import change_keys
from app.core.access.keys import KeyDocument, make_key

MADE = datetime(2026, 1, 1, tzinfo=UTC)


def add_key(path: Path, *scopes: str, **terms: object) -> str:
    """Put a key into a file, and return its secret."""
    key, token = make_key({"scopes": scopes, "created": MADE, **terms})
    change_keys(path, lambda document: KeyDocument(keys=(*document.keys, key)))
    return token


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
