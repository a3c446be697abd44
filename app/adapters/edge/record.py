"""What ``collection.json`` says: what a collection was indexed with, and which shard is live.

It is replaced atomically. ``directory.py`` says what lies beside it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from app.adapters.stored_files import replace_text
from app.core.errors import EncoderMismatchError, StoreError
from app.core.passages.fields import check_fields
from app.core.types import CollectionSpec, FieldKind, IndexedWith

SCHEMA = 1
"""Version of ``collection.json`` and of what a point holds."""

RECORD_FILE = "collection.json"
SHARD_NAME = re.compile(r"shard-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """What ``collection.json`` says.

    Attributes:
        name: Collection name.
        encoder_id: Fingerprint of the encoder of all its vectors.
        dim: Number of dimensions of its vectors.
        shard: Directory name of the live shard; ``None`` until it has been created.
        schema: Version of the format.
        fields: Declared fields whose values every point of the live shard holds.
        indexed: Where every point of the live shard holds its words: how many points its
            approximate index covers. ``None`` where points hold no words, and then not written,
            so that versions from before there were words read the record.
    """

    name: str
    encoder_id: str
    dim: int
    shard: str | None = None
    schema: int = SCHEMA
    fields: dict[str, FieldKind] = field(default_factory=dict)
    indexed: int | None = None


def bind_record(root: Path, spec: CollectionSpec) -> CollectionRecord:
    """Read what the directory was indexed with, or write it into a directory that is new.

    Raises:
        EncoderMismatchError: It was indexed with another encoder.
        StoreError: It holds another collection, is damaged, or cannot be written.
    """
    record = _read(root)
    if record is None:
        if orphans := [path.name for path in shard_paths(root)]:
            raise StoreError(
                f"{root} holds {', '.join(orphans)} but no {RECORD_FILE}, so nobody can tell "
                "which encoder its passages were indexed with. Restore that file from a backup, "
                "or remove the whole data directory and index again."
            )
        record = CollectionRecord(name=spec.name, encoder_id=spec.encoder_id, dim=spec.dim)
        write_record(root, record)
    if record.encoder_id != spec.encoder_id:
        raise EncoderMismatchError(
            collection=record.name, indexed_with=record.encoder_id, loaded=spec.encoder_id
        )
    if (record.name, record.dim) != (spec.name, spec.dim):
        raise StoreError(
            f"{root} holds collection {record.name!r} with vectors of {record.dim} dimensions, "
            f"not {spec.name!r} with {spec.dim}. Use another data directory."
        )
    return record


def indexed_with(root: Path) -> IndexedWith | None:
    """Return what a collection was indexed with; ``None`` where there is no collection yet.

    Raises:
        StoreError: Its record cannot be read.
    """
    record = _read(root)
    return None if record is None else IndexedWith(record.encoder_id, record.dim)


def write_record(root: Path, record: CollectionRecord) -> None:
    """Write what the directory is to mean from now on, durably.

    Raises:
        StoreError: The directory cannot be written; the old record stays.
    """
    document = asdict(record)
    if record.indexed is None:
        del document["indexed"]
    replace_text(root / RECORD_FILE, json.dumps(document, indent=2) + "\n")


def shard_paths(root: Path) -> list[Path]:
    """Return every shard in the directory, the live one and leftovers."""
    return sorted(path for path in root.iterdir() if SHARD_NAME.fullmatch(path.name))


def _read(root: Path) -> CollectionRecord | None:
    path = root / RECORD_FILE
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
        record = CollectionRecord(**document)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(path, str(error)) from error
    problem = _record_problem(record)
    if problem is not None:
        raise _damaged(path, problem)
    return record


def _record_problem(record: CollectionRecord) -> str | None:
    if record.schema != SCHEMA:
        return f"it has schema {record.schema!r}, and this version reads schema {SCHEMA}"
    types = {"name": str, "encoder_id": str, "dim": int}
    if record.indexed is not None:
        types["indexed"] = int
    for name, expected in types.items():
        if not isinstance(getattr(record, name), expected):
            return f"its {name} is not of type {expected.__name__}"
    if record.shard is not None and not SHARD_NAME.fullmatch(str(record.shard)):
        return f"its shard {record.shard!r} is not the name of a shard"
    try:
        check_fields(record.fields)
    except (ValueError, TypeError, AttributeError) as error:
        return f"its fields cannot be read: {error}"
    return None


def _damaged(path: Path, problem: str) -> StoreError:
    return StoreError(
        f"{path} cannot be used: {problem}. Restore it from a backup, or remove the whole data "
        "directory and index again."
    )
