"""What an archive says that it holds, and what it found when it was made."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileFacts(_Part):
    """A file: its size in bytes and the sha256 of its content."""

    size: int
    sha256: str


class KnownHit(_Part):
    """A hit of a known query."""

    id: str
    score: float
    probability: float | None


class Check(_Part):
    """A query, and what it found when the archive was made."""

    query: str
    hits: tuple[KnownHit, ...]


class BackupManifest(_Part):
    """What an archive holds.

    Attributes:
        format: Version of the archive's form.
        isoglot: Version of the program that wrote it.
        created: When, in ISO 8601.
        collection: Name of the collection that was served.
        encoder: Fingerprint of the encoder of its vectors.
        bundle: Id of the bundle that it was served with.
        bundle_name: Its name.
        switched_to: Directory of the bundle that a reindexing switched to; empty before any.
        calibrator: Id of what stated the probabilities; ``None`` where nothing did.
        passages: How many passages were in it.
        files: Every file by its path in the archive.
        checks: Known queries.
    """

    format: Literal[2] = 2
    isoglot: str
    created: str
    collection: str
    encoder: str
    bundle: str
    bundle_name: str
    switched_to: str = ""
    calibrator: str | None = None
    passages: int
    files: dict[str, FileFacts] = {}
    checks: tuple[Check, ...] = ()
