from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.adapters.key_file import LOOK_SECONDS, KeyFile, change_keys, read_keys
from app.core.access.keys import ApiKey, KeyDocument, make_key
from app.core.errors import KeyFileError, UnauthenticatedError

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def add(path: Path) -> tuple[ApiKey, str]:
    key, token = make_key({"scopes": ["search"], "created": NOW})
    change_keys(path, lambda document: KeyDocument(keys=(*document.keys, key)))
    return key, token


def test_a_new_file_is_for_its_owner_alone(path):
    add(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["keys.json"]


def test_a_change_keeps_the_mode_of_the_file_and_the_other_keys(path):
    first, _ = add(path)
    path.chmod(0o640)
    second, _ = add(path)

    assert read_keys(path).keys == (first, second)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_change_that_fails_leaves_the_file_as_it_was(path):
    add(path)
    before = path.read_bytes()

    def fail(document: KeyDocument) -> KeyDocument:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        change_keys(path, fail)
    assert path.read_bytes() == before


def test_a_key_that_is_added_or_revoked_counts_within_a_second(path, clock):
    _, token = add(path)
    keys = KeyFile(path, clock=clock)
    added, another = add(path)

    with pytest.raises(UnauthenticatedError):
        keys.ring().identify(another, now=NOW)  # not looked at yet
    clock.now += LOOK_SECONDS
    assert keys.ring().identify(another, now=NOW) == added

    change_keys(path, lambda document: KeyDocument(keys=(added,)))
    clock.now += LOOK_SECONDS
    with pytest.raises(UnauthenticatedError):
        keys.ring().identify(token, now=NOW)


@pytest.mark.parametrize("broken", [b"", b"{", b'{"keys": 3}', b"\xff\xfe", None])
def test_a_broken_file_keeps_the_keys_from_before_and_is_logged_once(path, clock, broken):
    key, token = add(path)
    keys = KeyFile(path, clock=clock)
    whole = path.read_bytes()
    if broken is None:
        path.unlink()
    else:
        path.write_bytes(broken)

    with capture_logs() as logs:
        for _ in range(3):
            clock.now += LOOK_SECONDS
            assert keys.ring().identify(token, now=NOW) == key
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("key_file_not_usable", "error")
    ]
    assert str(path) in logs[0]["reason"]

    path.write_bytes(whole)
    added, later = add(path)
    clock.now += LOOK_SECONDS
    assert keys.ring().identify(later, now=NOW) == added


def test_a_file_without_keys_lets_nobody_in(path, clock):
    path.write_text('{"version": 1, "keys": []}')
    _, token = make_key({"scopes": ["search"], "created": NOW})

    with pytest.raises(UnauthenticatedError):
        KeyFile(path, clock=clock).ring().identify(token, now=NOW)


@pytest.mark.parametrize("content", [None, b"{broken", b"[]"])
def test_a_service_does_not_start_with_a_file_it_cannot_use(path, content):
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(KeyFileError, match=str(path)):
        KeyFile(path)


def test_a_directory_that_is_missing_is_named(tmp_path):
    with pytest.raises(KeyFileError, match="nowhere"):
        add(tmp_path / "nowhere" / "keys.json")
