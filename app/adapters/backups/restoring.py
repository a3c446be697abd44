"""An archive on its way into a data directory, in steps that may be interrupted anywhere.

Everything is unpacked below ``.restoring`` of the data directory and compared with its manifest.
Then the manifest is written there, durably: from then on the archive is whole, and the same
command goes on where it was. Files are moved into place, the key file is written last, and the
directory is renamed before it is removed. While ``.restoring`` is there, nothing opens the data
directory: what is half restored never looks finished.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from app.adapters.backups.archive import read_manifest, unpack_archive
from app.adapters.backups.manifest import BackupManifest
from app.adapters.backups.stage import DATA, KEYS, PRIVATE, RESTORING, OnBytes
from app.adapters.disk_room import require_room
from app.adapters.stored_files import file_errors, remove_tree, replace_text, sync_tree
from app.adapters.whole_files import sync
from app.core.errors import BackupError

WHOLE = "manifest.json"
"""Written once everything is unpacked and compared."""

RESTORED = ".restored"
"""What ``.restoring`` is called once it is not needed any more."""


def refuse_unfinished(data_dir: Path) -> None:
    """Check that no restore was interrupted in the middle of a data directory.

    Raises:
        BackupError: One was.
    """
    if (data_dir / RESTORING).is_dir():
        raise BackupError(
            f"The restore into {data_dir} did not come to its end. Run the same `isoglot restore` "
            f"again, which goes on where it was, or remove {data_dir} to begin anew."
        )


def is_unpacked(data_dir: Path) -> bool:
    """Return whether an archive was unpacked in a data directory, and waits to be put in place."""
    return (data_dir / RESTORING / WHOLE).is_file()


def unpack(archive: Path, data_dir: Path, *, reserve: int, on_bytes: OnBytes) -> Path:
    """Unpack an archive into a data directory that is empty or is not there.

    Where an interrupted call has done so, nothing is done.

    Args:
        archive: From ``write_archive``.
        data_dir: What is not yet whole in it is removed.
        reserve: Bytes that stay free on its disk.
        on_bytes: Is told how far it is.

    Returns:
        Where it was unpacked, in the layout of a stage.

    Raises:
        BackupError: The archive is damaged, the directory is not empty, or another archive was on
            its way there.
        StorageFullError: There is no room for it.
        StoreError: A file cannot be written.
    """
    manifest = read_manifest(archive)
    place = data_dir / RESTORING
    if is_unpacked(data_dir):
        _refuse_another(place, manifest)
        return place
    with file_errors(f"restore into {data_dir}"):
        data_dir.mkdir(parents=True, exist_ok=True)
        remove_tree(place)
        remove_tree(data_dir / RESTORED)
        if held := sorted(path.name for path in data_dir.iterdir()):
            raise BackupError(
                f"{data_dir} is not empty (it holds {', '.join(held[:3])}). Restore into an empty "
                "directory, and then point ISOGLOT_DATA_DIR to it."
            )
        total = sum(facts.size for facts in manifest.files.values())
        require_room(data_dir, reserve=reserve, wanted=total)
        place.mkdir(mode=0o700)
        unpack_archive(archive, place, on_bytes)
        sync_tree(place)
        replace_text(place / WHOLE, manifest.model_dump_json())
        sync(data_dir)
        sync(data_dir.absolute().parent)
    return place


def put_in_place(data_dir: Path, key_file: Path | None, *, leave: Collection[str] = ()) -> None:
    """Move what was unpacked to where it belongs.

    Args:
        data_dir: As of ``unpack``.
        key_file: Where the keys go, where the archive has some; left alone where it exists.
        leave: Names of what is not moved, but removed.

    Raises:
        StoreError: A file cannot be moved or written; the same call goes on where it was.
    """
    place = data_dir / RESTORING
    with file_errors(f"restore into {data_dir}"):
        for path in sorted((place / DATA).iterdir()):
            if path.name not in leave:
                path.rename(data_dir / path.name)
        sync(data_dir)
        if key_file is not None and (place / KEYS).is_file():
            _write_keys(place / KEYS, key_file)
        place.rename(data_dir / RESTORED)
        sync(data_dir)
    remove_tree(data_dir / RESTORED)


def _refuse_another(place: Path, manifest: BackupManifest) -> None:
    with file_errors(f"read {place / WHOLE}"):
        text = (place / WHOLE).read_text(encoding="utf-8")
    if text != manifest.model_dump_json():
        raise BackupError(
            f"Another archive is on its way into {place.parent}, and was interrupted. Restore that "
            f"one, or remove {place.parent} to begin anew."
        )


def _write_keys(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
        file.write(source.read_bytes())
        file.flush()
        os.fsync(file.fileno())
    draft.rename(target)
    sync(target.absolute().parent)
