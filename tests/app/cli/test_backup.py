"""``isoglot backup`` and ``isoglot restore``."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app.adapters import backup_archive
from app.adapters.edge.directory import hold_directory
from tests.app.cli.conftest import GEZEITEN, TIDES, WHEEL, Isoglot
from tests.bundles import write_tiny_bundle


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def archive(
    isoglot: Isoglot,
    lines: Callable[..., Path],
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A backup of three passages, a key and a calibrator's choice."""
    keys = tmp_path / "keys.json"
    assert isoglot("keys", "create", "--scope", "search", "--key-file", keys).exit_code == 0
    monkeypatch.setenv("ISOGLOT_KEY_FILE", str(keys))
    assert isoglot("index", lines(TIDES, GEZEITEN, WHEEL)).exit_code == 0
    (data / "calibrators" / "passages").mkdir(parents=True)
    (data / "calibrators" / "passages" / "audit.jsonl").write_text("{}\n")
    path = tmp_path / "all.tar.gz"
    result = isoglot("backup", path)
    assert result.exit_code == 0, result.stderr
    assert "3 passages" in result.stderr
    assert "3 known queries" in result.stderr
    return path


@pytest.fixture(scope="module")
def seen() -> dict[str, bytes]:
    """The archive and the keys, once they were made."""
    return {}


@pytest.fixture
def kept(
    request: pytest.FixtureRequest, seen: dict[str, bytes], tmp_path: Path, data: Path
) -> Path:
    """The same without what it was made of, which is gone; made once for all tests."""
    path, keys = tmp_path / "all.tar.gz", tmp_path / "keys.json"
    if not seen:
        request.getfixturevalue("archive")
        seen.update(archive=path.read_bytes(), keys=keys.read_bytes())
        shutil.rmtree(data)
    path.write_bytes(seen["archive"])
    keys.write_bytes(seen["keys"])
    return path


def answers(isoglot) -> object:
    result = isoglot("search", "the tides of the sea", "--json")
    assert result.exit_code == 0, result.stderr
    return [(h["id"], h["score"], h["probability"]) for h in json.loads(result.stdout)["hits"]]


def read(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(entry)
    assert content is not None
    return content.read()


def rewritten(archive: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    """Write an archive again, with its members (name to content) changed."""
    with tarfile.open(archive) as tar:
        members = {e.name: read(tar, e) for e in tar.getmembers()}
    change(members)
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def test_what_is_restored_answers_as_it_did(isoglot, archive, data, tmp_path):
    before = answers(isoglot)
    keys = tmp_path / "keys.json"
    kept = keys.read_text()
    shutil.rmtree(data)
    keys.unlink()
    result = isoglot("restore", archive)
    assert result.exit_code == 0, result.stderr
    assert "3 known queries are answered as they were" in result.stderr
    assert answers(isoglot) == before
    assert keys.read_text() == kept
    assert keys.stat().st_mode & 0o777 == 0o600
    assert (data / "calibrators" / "passages" / "audit.jsonl").read_text() == "{}\n"
    assert not (data / backup_archive.STAGING).exists()


def test_only_its_owner_reads_an_archive_and_it_holds_no_key(isoglot, archive, tmp_path):
    assert archive.stat().st_mode & 0o777 == 0o600
    made = isoglot("keys", "create", "--scope", "search", "--key-file", tmp_path / "keys.json")
    assert isoglot("backup", tmp_path / "second").exit_code == 0
    held = gzip.decompress((tmp_path / "second").read_bytes())
    assert made.stdout.strip().encode() not in held


def test_a_key_file_that_is_there_is_left_alone(isoglot, archive, data, tmp_path):
    shutil.rmtree(data)
    (tmp_path / "keys.json").write_text("mine")
    assert isoglot("restore", archive).exit_code == 0
    assert (tmp_path / "keys.json").read_text() == "mine"


def test_nothing_is_overwritten(isoglot, archive, data):
    before = archive.read_bytes()
    result = isoglot("backup", archive)
    assert (result.exit_code, archive.read_bytes()) == (3, before)
    assert "exists already" in result.stderr
    result = isoglot("restore", archive)
    assert result.exit_code == 3
    assert f"{data} is not empty" in result.stderr


def test_a_collection_that_is_in_use_is_not_backed_up(isoglot, archive, data, tmp_path):
    with hold_directory(data / "passages"):
        result = isoglot("backup", tmp_path / "other")
    assert result.exit_code == 3
    assert "A backup is made while no service runs" in result.stderr
    assert "--url" not in result.stderr
    assert not list(tmp_path.glob("other*"))


def test_an_empty_data_directory_and_a_server_are_not_backed_up(isoglot, tmp_path, monkeypatch):
    assert "holds no collection 'passages'" in isoglot("backup", tmp_path / "b").stderr
    monkeypatch.setenv("ISOGLOT_QDRANT_URL", "http://127.0.0.1:1")
    for command in ("backup", "restore"):
        result = isoglot(command, tmp_path / "b")
        assert result.exit_code == 3
        assert "snapshots" in result.stderr


def damage_content(members):
    name = next(n for n in members if n.endswith("collection.json"))
    members[name] = members[name].replace(b"passages", b"passagez")


def drop_file(members):
    members.pop(next(n for n in members if n.endswith("collection.json")))


def add_file(members):
    members["data/extra"] = b"extra"


def climb_out(members):
    manifest = json.loads(members["manifest.json"])
    manifest["files"]["data/../../evil"] = {"size": 1, "sha256": "0"}
    members["manifest.json"] = json.dumps(manifest).encode()


def next_version(members):
    manifest = json.loads(members["manifest.json"])
    members["manifest.json"] = json.dumps({**manifest, "format": 2}).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damage_content, "the content of data/passages/collection.json was changed"),
        (drop_file, "data/passages/collection.json is missing"),
        (add_file, "data/extra is not what the manifest says"),
        (climb_out, "it holds a file 'data/../../evil'"),
        (next_version, "manifest.json cannot be read: format"),
        (lambda members: members.pop("manifest.json"), "does not begin with manifest.json"),
    ],
)
def test_a_damaged_archive_never_becomes_data(isoglot, kept, data, change, message):
    rewritten(kept, change)
    result = isoglot("restore", kept)
    assert result.exit_code == 3
    assert message in result.stderr
    assert not data.exists() or {p.name for p in data.iterdir()} <= {backup_archive.STAGING}


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_an_archive_that_was_cut_off_is_refused_and_a_good_one_goes_in_after(
    isoglot, kept, data, keep
):
    whole = kept.read_bytes()
    kept.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    result = isoglot("restore", kept)
    assert result.exit_code == 3
    assert "cannot be restored" in result.stderr
    kept.write_bytes(whole)
    assert isoglot("restore", kept).exit_code == 0


def test_a_missing_archive_another_bundle_and_another_collection_are_told(
    isoglot, kept, data, tmp_path, monkeypatch
):
    assert "There is no backup" in isoglot("restore", tmp_path / "nothing").stderr
    other = write_tiny_bundle(tmp_path / "other", name="other")
    result = isoglot("restore", kept, "--bundle", other)
    assert (result.exit_code, "belongs to bundle tiny" in result.stderr) == (3, True)
    monkeypatch.setenv("ISOGLOT_COLLECTION", "books")
    assert "ISOGLOT_COLLECTION=passages" in isoglot("restore", kept).stderr
    assert not data.exists()


def test_a_disk_without_room_is_told_before_anything_is_written(isoglot, kept, data, monkeypatch):
    monkeypatch.setenv("ISOGLOT_DISK_RESERVE_MIB", str(1 << 20))
    assert "MiB are free" in isoglot("restore", kept).stderr
    assert list(data.iterdir()) == []


def test_answers_that_are_not_the_same_are_told(isoglot, kept, data):
    def other_answer(members):
        manifest = json.loads(members["manifest.json"])
        manifest["checks"][0]["hits"][0]["probability"] = 0.123
        manifest["passages"] = 4
        members["manifest.json"] = json.dumps(manifest).encode()

    rewritten(kept, other_answer)
    result = isoglot("restore", kept)
    assert result.exit_code == 1
    assert "Answered otherwise" in result.stderr
    assert "There are 3 passages, and there were 4" in result.stderr
    shutil.rmtree(data)
    assert isoglot("restore", kept, "--no-verify").exit_code == 0
