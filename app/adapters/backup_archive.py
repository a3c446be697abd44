"""A data directory in one file: a tar of its files behind a manifest of their checksums.

Layout::

    manifest.json   what the archive holds: version, bundle, files with size and sha256, checks
    data/...        the data directory, as it is
    keys            the key file, where there is one

The archive is written beside its place and moved there once it is complete, readable by its owner
alone. It is unpacked into ``.restoring`` of the new data directory, compared with its manifest,
and only then moved into place: what is damaged never becomes data.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from app.adapters.disk_room import require_room
from app.adapters.edge.directory import (
    LOCK_FILE,
    file_errors,
    hold_directory,
    remove_tree,
    sync_tree,
)
from app.core.bundle import file_sha256
from app.core.errors import BackupError

MANIFEST = "manifest.json"
DATA = "data"
KEYS = "keys"
STAGING = ".restoring"

_MAX_MANIFEST = 64 << 20
_BLOCK = 1 << 20

OnBytes = Callable[[int, int], None]
"""Is told how many bytes are done, and how many there are."""


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
        bundle: Id of the bundle that it was served with.
        bundle_name: Its name.
        passages: How many passages were in it.
        files: Every file by its path in the archive.
        checks: Known queries.
    """

    format: Literal[1] = 1
    isoglot: str
    created: str
    collection: str
    bundle: str
    bundle_name: str
    passages: int
    files: dict[str, FileFacts] = {}
    checks: tuple[Check, ...] = ()


def write_backup(
    target: Path, data_dir: Path, key_file: Path | None, facts: BackupManifest, on_bytes: OnBytes
) -> BackupManifest:
    """Write an archive; nobody may write to the data directory meanwhile.

    Args:
        target: Where it is going to be; must not exist.
        data_dir: What is kept.
        key_file: Kept with it.
        facts: Manifest without files.
        on_bytes: Is told how far it is; every byte is read twice.

    Raises:
        BackupError: ``target`` exists.
        StoreLockedError: A service has one of the collections open.
        StoreError: A file cannot be read or written.
    """
    refuse_existing(target)
    draft = target.with_name(target.name + ".part")
    with _held_collections(data_dir), file_errors(f"write the backup {target}"):
        paths = dict(_files(data_dir, key_file))
        total = 2 * sum(path.stat().st_size for path in paths.values())
        done = 0
        files = {}
        for name, path in paths.items():
            size = path.stat().st_size
            files[name] = FileFacts(size=size, sha256=file_sha256(path))
            on_bytes(done := done + size, total)
        manifest = facts.model_copy(update={"files": files})
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            with (
                os.fdopen(descriptor, "wb") as file,
                tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar,
            ):
                _add(tar, MANIFEST, manifest.model_dump_json(indent=1).encode())
                for name, path in paths.items():
                    tar.add(path, arcname=name, recursive=False)
                    on_bytes(done := done + files[name].size, total)
            with draft.open("rb") as written:
                os.fsync(written.fileno())
            refuse_existing(target)
            draft.rename(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    return manifest


def read_manifest(archive: Path) -> BackupManifest:
    """Return what an archive says that it holds.

    Raises:
        BackupError: It is no backup, is damaged, or of another version.
    """
    with _reading(archive) as tar:
        return _manifest(archive, tar)


def unpack_backup(
    archive: Path, data_dir: Path, key_file: Path | None, *, reserve: int, on_bytes: OnBytes
) -> BackupManifest:
    """Unpack an archive into a data directory that is empty or is not there.

    Args:
        archive: From ``write_backup``.
        data_dir: What an interrupted call left in it is removed.
        key_file: Where the keys go, where the archive has some; left alone where it exists.
        reserve: Bytes that stay free on its disk.
        on_bytes: Is told how far it is.

    Raises:
        BackupError: The archive is damaged, or the directory is not empty.
        StorageFullError: There is no room for it.
        StoreError: A file cannot be written.
    """
    staging = data_dir / STAGING
    with file_errors(f"restore into {data_dir}"), _reading(archive) as tar:
        manifest = _manifest(archive, tar)
        data_dir.mkdir(parents=True, exist_ok=True)
        remove_tree(staging)
        if held := sorted(path.name for path in data_dir.iterdir()):
            raise BackupError(
                f"{data_dir} is not empty (it holds {', '.join(held[:3])}). Restore into an empty "
                "directory, and then point ISOGLOT_DATA_DIR to it."
            )
        total = sum(facts.size for facts in manifest.files.values())
        require_room(data_dir, reserve=reserve, wanted=total)
        staging.mkdir(mode=0o700)
        _unpack(archive, tar, manifest, staging, lambda done: on_bytes(done, total))
        sync_tree(staging)
        keys = staging / KEYS
        if keys.exists() and key_file is not None and not key_file.exists():
            shutil.copyfile(keys, key_file)
            key_file.chmod(0o600)
        for path in sorted((staging / DATA).iterdir()):
            path.rename(data_dir / path.name)
        remove_tree(staging)
    return manifest


def refuse_existing(target: Path) -> None:
    """Check that there is nothing where a backup is to go.

    Raises:
        BackupError: There is.
    """
    if target.exists():
        raise BackupError(f"{target} exists already, and is not overwritten. Name another file.")


@contextmanager
def _held_collections(data_dir: Path) -> Iterator[None]:
    with ExitStack() as held:
        for lock in sorted(data_dir.glob(f"*/{LOCK_FILE}")):
            held.enter_context(hold_directory(lock.parent))
        yield


def _files(data_dir: Path, key_file: Path | None) -> Iterator[tuple[str, Path]]:
    for path in sorted(data_dir.rglob("*")):
        relative = path.relative_to(data_dir)
        if path.is_file() and path.name != LOCK_FILE and relative.parts[0] != STAGING:
            yield f"{DATA}/{relative.as_posix()}", path
    if key_file is not None and key_file.is_file():
        yield KEYS, key_file


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o600
    tar.addfile(entry, BytesIO(content))


@contextmanager
def _reading(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive, mode="r:gz") as tar:
            yield tar
    except FileNotFoundError as error:
        if error.filename != str(archive):
            raise
        raise BackupError(f"There is no backup {archive}.") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _damaged(archive, str(error)) from error
    except Exception as error:
        if type(error).__module__ == "zlib":
            raise _damaged(archive, str(error)) from error
        raise


def _manifest(archive: Path, tar: tarfile.TarFile) -> BackupManifest:
    first = tar.next()
    content = tar.extractfile(first) if first is not None and first.name == MANIFEST else None
    if first is None or content is None or first.size > _MAX_MANIFEST:
        raise _damaged(archive, f"it does not begin with {MANIFEST}")
    try:
        manifest = BackupManifest.model_validate_json(content.read())
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(step) for step in problem["loc"])
        raise _damaged(
            archive, f"its {MANIFEST} cannot be read: {place}: {problem['msg']}"
        ) from error
    for name in manifest.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path.parts[0] not in {DATA, KEYS}:
            raise _damaged(archive, f"it holds a file {name!r}")
    return manifest


def _unpack(
    archive: Path,
    tar: tarfile.TarFile,
    manifest: BackupManifest,
    staging: Path,
    on_bytes: Callable[[int], None],
) -> None:
    (staging / DATA).mkdir()
    missing, done = dict(manifest.files), 0
    while (entry := tar.next()) is not None:
        facts = missing.pop(entry.name, None)
        source = tar.extractfile(entry) if entry.isfile() else None
        if facts is None or source is None or entry.size != facts.size:
            raise _damaged(archive, f"{entry.name} is not what the manifest says")
        target = staging / entry.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if _copy(source, target) != facts.sha256:
            raise _damaged(archive, f"the content of {entry.name} was changed")
        target.chmod(0o600 if entry.name == KEYS else entry.mode & 0o700 | entry.mode & 0o044)
        on_bytes(done := done + facts.size)
    if missing:
        raise _damaged(archive, f"{min(missing)} is missing")


def _copy(source: IO[bytes], target: Path) -> str:
    """Write a file, leaving holes where there is nothing but zeros; return its sha256."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        while block := source.read(_BLOCK):
            digest.update(block)
            if block.strip(b"\0"):
                file.write(block)
            else:
                file.seek(len(block), os.SEEK_CUR)
        file.truncate()
    return digest.hexdigest()


def _damaged(archive: Path, problem: str) -> BackupError:
    return BackupError(
        f"{archive} cannot be restored: {problem}. Nothing was put in place; take another backup."
    )
