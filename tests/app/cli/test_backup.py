"""``isoglot backup`` and ``isoglot restore``."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.adapters.backups import restoring, stage
from app.adapters.backups.manifest import BackupManifest
from app.adapters.calibrator_shelf import CalibratorShelf
from app.adapters.edge.directory import hold_directory
from app.bootstrap import open_runtime
from app.cli.backups.checks import facts_of
from app.core.bundle import load_bundle
from app.core.calibration.document import dump_calibrator
from app.core.types import Passage
from app.settings import Settings
from tests.app.cli.conftest import GEZEITEN, TIDES, WHEEL, Isoglot
from tests.bundles import calibrator_content, tiny_spec, write_tiny_bundle


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


def answers(isoglot: Isoglot) -> list[tuple[str, float, float | None]]:
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
    assert not (data / stage.RESTORING).exists()


def test_words_are_found_after_a_restore(isoglot, lines, data, tmp_path, monkeypatch):
    def found() -> list[tuple[str, float]]:
        result = isoglot("search", "bicycle", "--retrieval", "hybrid", "--json")
        assert result.exit_code == 0, result.stderr
        return [(h["id"], h["lexical_score"]) for h in json.loads(result.stdout)["hits"]]

    monkeypatch.setenv("ISOGLOT_HYBRID", "true")
    assert isoglot("index", lines(TIDES, GEZEITEN, WHEEL)).exit_code == 0
    before = found()
    assert before[0][1] > 0
    assert isoglot("backup", tmp_path / "all.tar.gz").exit_code == 0
    shutil.rmtree(data)
    monkeypatch.delenv("ISOGLOT_HYBRID")
    assert isoglot("restore", tmp_path / "all.tar.gz").exit_code == 0
    assert found() == before


def manifest_of(archive: Path) -> dict[str, Any]:
    with tarfile.open(archive) as tar:
        found: dict[str, Any] = json.loads(read(tar, tar.getmember("manifest.json")))
    return found


def promote(data: Path, bundle: Path, intercept: float) -> str:
    """Have another calibrator than the bundle's own judge."""
    content = calibrator_content(tiny_spec())
    content["hit"]["intercept"] = intercept
    shelf = CalibratorShelf.of(data, "passages")
    calibrator = shelf.add(dump_calibrator(content)).id
    shelf.promote(calibrator, load_bundle(bundle))
    return calibrator


def test_known_queries_are_judged_by_the_calibrator_that_was_promoted(
    isoglot, archive, data, bundle, tmp_path
):
    query = manifest_of(archive)["checks"][0]["query"]
    calibrator = promote(data, bundle, intercept=-1.0)
    stated = json.loads(isoglot("search", query, "--json").stdout)
    assert isoglot("backup", tmp_path / "second").exit_code == 0
    manifest = manifest_of(tmp_path / "second")
    assert manifest["calibrator"] == calibrator == stated["model"]["calibrator"]
    kept = [hit["probability"] for hit in manifest["checks"][0]["hits"]]
    assert kept == pytest.approx([hit["probability"] for hit in stated["hits"]])
    before = [hit["probability"] for hit in manifest_of(archive)["checks"][0]["hits"]]
    assert kept != pytest.approx(before)


def test_another_calibrator_after_a_restore_is_told(isoglot, archive, data, bundle, monkeypatch):
    shutil.rmtree(data)
    finish = restoring.put_in_place

    def finish_otherwise(data_dir, key_file, **options):
        finish(data_dir, key_file, **options)
        promote(data_dir, bundle, intercept=-1.0)

    monkeypatch.setattr("app.cli.backups.restore.put_in_place", finish_otherwise)
    result = isoglot("restore", archive)
    assert result.exit_code == 1
    assert "judges, and" in result.stderr


def test_every_language_has_a_known_query(isoglot, lines, tmp_path):
    passages = [{**TIDES, "id": f"en{n}", "text": f"the tides of sea {n}"} for n in range(30)]
    assert isoglot("index", lines(*passages, GEZEITEN)).exit_code == 0
    result = isoglot("backup", tmp_path / "b", "--queries", "1")
    assert result.exit_code == 0, result.stderr
    queries = [check["query"] for check in manifest_of(tmp_path / "b")["checks"]]
    assert len(queries) == 2
    assert GEZEITEN["text"] in queries
    assert isoglot("backup", tmp_path / "none", "--queries", "0").exit_code == 0
    assert manifest_of(tmp_path / "none")["checks"] == []
    assert isoglot("backup", tmp_path / "ten", "--queries", "10").exit_code == 0
    assert len(manifest_of(tmp_path / "ten")["checks"]) == 6  # five of each language at most


def test_what_is_written_while_known_queries_are_asked_is_not_in_the_archive(
    isoglot, archive, data, tmp_path, monkeypatch
):
    async def facts_and_a_write(settings: Settings, queries: int) -> BackupManifest:
        # What was locked is unlocked by now: a service may have started again.
        async with open_runtime(settings.model_copy(update={"data_dir": data})) as runtime:
            await runtime.ingest.add([Passage("late", TIDES["text"], "en")])
        return await facts_of(settings, queries)

    monkeypatch.setattr("app.cli.backups.backup.facts_of", facts_and_a_write)
    result = isoglot("backup", tmp_path / "second")
    assert (result.exit_code, "3 passages" in result.stderr) == (0, True), result.stderr
    assert len(answers(isoglot)) == 4
    shutil.rmtree(data)
    result = isoglot("restore", tmp_path / "second")
    assert result.exit_code == 0, result.stderr
    assert "3 known queries are answered as they were" in result.stderr


def test_after_a_reindexing_the_bundle_that_was_switched_to_counts(
    isoglot, archive, data, tmp_path
):
    new = write_tiny_bundle(tmp_path / "new", spec=tiny_spec(query_prefix="query: "), name="new")
    assert isoglot("reindex", "--bundle", new).exit_code == 0
    # ISOGLOT_BUNDLE still names the bundle from before.
    assert isoglot("backup", tmp_path / "second").exit_code == 0
    shutil.rmtree(data)
    result = isoglot("restore", tmp_path / "second")
    assert result.exit_code == 0, result.stderr
    assert "3 known queries are answered as they were" in result.stderr

    shutil.rmtree(data)
    new.rename(tmp_path / "moved")
    result = isoglot("restore", tmp_path / "second")
    assert (result.exit_code, "belongs to bundle new" in result.stderr) == (3, True)
    assert isoglot("restore", tmp_path / "second", "--bundle", tmp_path / "moved").exit_code == 0


class Killed(BaseException):
    """The process ends here: nothing of it runs any more."""


def killed_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Have the process end before its ``step``-th rename."""
    rename, seen = Path.rename, []

    def count(path: Path, target: Path) -> Path:
        seen.append(path)
        if len(seen) == step:
            raise Killed
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", count)


# Before: the calibrators, the collection, the key file, and what was unpacked.
@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_restore_that_was_killed_is_refused_and_goes_on_where_it_was(
    isoglot, kept, data, tmp_path, monkeypatch, step
):
    keys = tmp_path / "keys.json"
    keys.unlink()
    monkeypatch.setenv("ISOGLOT_KEY_FILE", str(keys))
    with pytest.MonkeyPatch.context() as patched:
        killed_at(patched, step)
        assert isoglot_ended_by_kill(isoglot, "restore", kept)
    assert keys.exists() == (step > 3)
    command = ("search", "sea") if step > 1 else ("backup", tmp_path / "other")
    result = isoglot(*command)
    assert (result.exit_code, "`isoglot restore` again" in result.stderr) == (3, True)

    result = isoglot("restore", kept)
    assert result.exit_code == 0, result.stderr
    assert "3 known queries are answered as they were" in result.stderr
    assert keys.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in data.iterdir()} == {"calibrators", "passages"}


def isoglot_ended_by_kill(isoglot: Isoglot, *arguments: object) -> bool:
    try:
        isoglot(*arguments)
    except Killed:
        return True
    return False


def test_an_unpacking_that_was_killed_begins_again(isoglot, kept, data, monkeypatch):
    def killed(root: Path) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(restoring, "sync_tree", killed)
        assert isoglot_ended_by_kill(isoglot, "restore", kept)
    assert "Run the same" in isoglot("search", "sea").stderr
    assert isoglot("restore", kept).exit_code == 0
    assert len(answers(isoglot)) == 3


def test_another_archive_does_not_go_on_with_what_was_interrupted(isoglot, kept, data):
    with pytest.MonkeyPatch.context() as patched:
        killed_at(patched, 1)
        assert isoglot_ended_by_kill(isoglot, "restore", kept)

    def later(members):
        manifest = json.loads(members["manifest.json"])
        members["manifest.json"] = json.dumps({**manifest, "created": "later"}).encode()

    rewritten(kept, later)
    result = isoglot("restore", kept)
    assert result.exit_code == 3
    assert "Another archive is on its way" in result.stderr


def test_feedback_is_kept_and_a_log_that_is_no_database_is_told(isoglot, archive, data, tmp_path):
    log = data / "feedback.sqlite3"
    with closing(sqlite3.connect(log)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE kept (n)")
        writer.execute("INSERT INTO kept VALUES (7)")
        writer.commit()
        # Its writer has it open, and the row is in the write-ahead log alone.
        assert isoglot("backup", tmp_path / "second").exit_code == 0
    shutil.rmtree(data)
    assert isoglot("restore", tmp_path / "second").exit_code == 0
    with closing(sqlite3.connect(log)) as reader:
        assert reader.execute("SELECT n FROM kept").fetchall() == [(7,)]
    for leftover in data.glob("feedback.sqlite3*"):
        leftover.unlink()
    log.write_bytes(b"no database" * 100)
    result = isoglot("backup", tmp_path / "third")
    assert result.exit_code == 3
    assert "feedback.sqlite3 cannot be copied" in result.stderr
    assert not (data / stage.STAGE).exists()


def test_what_a_killed_backup_left_is_in_no_archive(isoglot, archive, data, tmp_path):
    (data / stage.STAGE / "data").mkdir(parents=True)
    (data / stage.STAGE / "data" / "half").write_text("x")
    (tmp_path / "second.part").write_text("half")
    assert isoglot("backup", tmp_path / "second").exit_code == 0
    assert manifest_of(tmp_path / "second")["files"].keys() == manifest_of(archive)["files"].keys()
    assert (tmp_path / "second").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.part"))


def test_a_backup_needs_room_for_a_copy(isoglot, archive, tmp_path, monkeypatch):
    monkeypatch.setenv("ISOGLOT_DISK_RESERVE_MIB", str(1 << 20))
    result = isoglot("backup", tmp_path / "second")
    assert result.exit_code == 3
    assert "MiB are free" in result.stderr


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


def test_an_empty_data_directory_is_not_backed_up(isoglot, tmp_path):
    assert "holds no collection 'passages'" in isoglot("backup", tmp_path / "b").stderr


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
    members["manifest.json"] = json.dumps({**manifest, "format": 3}).encode()


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
    assert not data.exists() or {p.name for p in data.iterdir()} <= {stage.RESTORING}


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
