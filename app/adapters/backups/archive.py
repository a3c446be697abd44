"""A deployment in one file: a tar of what ``stage`` copied behind a manifest of its checksums.

Layout::

    manifest.json   what the archive holds: version, bundle, files with size and sha256, checks
    data/...        the data directory, as it is
    keys            the key file, where there is one

The archive is written beside its place and moved there once it is complete, readable by its owner
alone. What is unpacked is compared with the manifest, file by file.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from app.adapters.backups.manifest import BackupManifest, FileFacts
from app.adapters.backups.stage import DATA, KEYS, PRIVATE, OnBytes, copy_with_holes
from app.adapters.edge.directory import LOCK_FILE
from app.adapters.stored_files import file_errors
from app.adapters.whole_files import sync
from app.core.bundle import file_sha256
from app.core.errors import BackupError

MANIFEST = "manifest.json"

_MAX_MANIFEST = 64 << 20


def write_archive(
    target: Path, stage: Path, facts: BackupManifest, on_bytes: OnBytes
) -> BackupManifest:
    """Write an archive of what was copied to a stage.

    Args:
        target: Where it is going to be; must not exist.
        stage: Nobody writes to it meanwhile.
        facts: Manifest without files.
        on_bytes: Is told how far it is; every byte is read twice.

    Returns:
        The manifest with its files.

    Raises:
        BackupError: ``target`` exists.
        StoreError: A file cannot be read or written.
    """
    refuse_existing(target)
    draft = target.with_name(target.name + ".part")
    with file_errors(f"write the backup {target}"):
        paths = dict(_files(stage))
        total = 2 * sum(path.stat().st_size for path in paths.values())
        done = 0
        files = {}
        for name, path in paths.items():
            size = path.stat().st_size
            files[name] = FileFacts(size=size, sha256=file_sha256(path))
            on_bytes(done := done + size, total)
        manifest = facts.model_copy(update={"files": files})
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_EXCL, PRIVATE)
        try:
            with (
                os.fdopen(descriptor, "wb") as file,
                tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar,
            ):
                _add(tar, MANIFEST, manifest.model_dump_json(indent=1).encode())
                for name, path in paths.items():
                    tar.add(path, arcname=name, recursive=False)
                    on_bytes(done := done + files[name].size, total)
            sync(draft)
            refuse_existing(target)
            draft.rename(target)
            sync(target.absolute().parent)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    return manifest


def read_manifest(archive: Path) -> BackupManifest:
    """Return what an archive says that it holds.

    Raises:
        BackupError: It is no backup, is damaged, or of another version.
        StoreError: It cannot be read.
    """
    with file_errors(f"read the backup {archive}"), _reading(archive) as tar:
        return _manifest(archive, tar)


def unpack_archive(archive: Path, directory: Path, on_bytes: OnBytes) -> BackupManifest:
    """Unpack an archive into an empty directory, and compare every file with the manifest.

    Args:
        archive: From ``write_archive``.
        directory: Gets the layout of a stage.
        on_bytes: Is told how far it is.

    Raises:
        BackupError: It is damaged; what was written by then is still there.
        StoreError: A file cannot be read or written.
    """
    with file_errors(f"unpack {archive}"), _reading(archive) as tar:
        manifest = _manifest(archive, tar)
        (directory / DATA).mkdir()
        total = sum(facts.size for facts in manifest.files.values())
        missing, done = dict(manifest.files), 0
        while (entry := tar.next()) is not None:
            facts = missing.pop(entry.name, None)
            source = tar.extractfile(entry) if entry.isfile() else None
            if facts is None or source is None or entry.size != facts.size:
                raise _damaged(archive, f"{entry.name} is not what the manifest says")
            target = directory / entry.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if copy_with_holes(source, target) != facts.sha256:
                raise _damaged(archive, f"the content of {entry.name} was changed")
            target.chmod(PRIVATE if entry.name == KEYS else entry.mode & 0o700 | entry.mode & 0o044)
            on_bytes(done := done + facts.size, total)
        if missing:
            raise _damaged(archive, f"{min(missing)} is missing")
    return manifest


def refuse_existing(target: Path) -> None:
    """Check that there is nothing where a backup is to go.

    Raises:
        BackupError: There is.
    """
    if target.exists():
        raise BackupError(f"{target} exists already, and is not overwritten. Name another file.")


def _files(stage: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(stage.rglob("*")):
        if path.is_file() and path.name != LOCK_FILE:
            yield path.relative_to(stage).as_posix(), path


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
        is_data = path.parts[:1] == (DATA,) and len(path.parts) > 1 and ".." not in path.parts
        if name != KEYS and not is_data:
            raise _damaged(archive, f"it holds a file {name!r}")
    return manifest


def _damaged(archive: Path, problem: str) -> BackupError:
    return BackupError(
        f"{archive} cannot be restored: {problem}. Nothing was put in place; take another backup."
    )
