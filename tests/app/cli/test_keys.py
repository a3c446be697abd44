from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from app.adapters.key_file import read_keys
from app.cli.keys import ScopeName
from app.core.access.keys import SCOPES, KeyRing


@pytest.fixture
def key_file(tmp_path, monkeypatch):
    path = tmp_path / "keys.json"
    monkeypatch.setenv("ISOGLOT_KEY_FILE", str(path))
    return path


def test_the_scopes_of_the_command_are_those_of_the_service():
    assert tuple(name.value for name in ScopeName) == SCOPES


def test_a_new_key_is_printed_once_and_opens_the_service(isoglot, key_file):
    made = isoglot("keys", "create", "--scope", "search", "--scope", "ingest", "--name", "shop")
    token = made.stdout.strip()

    (key,) = read_keys(key_file).keys
    assert KeyRing([key]).identify(token, now=datetime.now(UTC)) == key
    assert set(key.scopes) == {"search", "ingest"}
    assert token not in key_file.read_text()
    for command in ("list", "list --json"):
        shown = isoglot("keys", *command.split()).output
        assert key.id in shown
        assert token not in shown
        assert key.sha256 not in shown


def test_all_terms_of_a_key_can_be_set(isoglot, key_file):
    terms = "--scope search --tenant acme --days 30 --requests-per-minute 90 --burst 5"
    assert isoglot("keys", "create", *terms.split()).exit_code == 0

    (shown,) = json.loads(isoglot("keys", "list", "--json").stdout)
    assert shown["tenant"] == "acme"
    assert shown["requests_per_minute"] == 90
    assert shown["burst"] == 5
    lifetime = datetime.fromisoformat(shown["expires"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < lifetime <= timedelta(days=30)
    line = isoglot("keys", "list").stdout
    assert "tenant acme" in line
    assert "expires" in line


def test_a_revoked_key_is_gone_and_the_others_stay(isoglot, key_file):
    for name in ("a", "b"):
        isoglot("keys", "create", "--scope", "search", "--name", name)
    first, second = read_keys(key_file).keys

    assert isoglot("keys", "revoke", first.id).exit_code == 0
    assert read_keys(key_file).keys == (second,)
    again = isoglot("keys", "revoke", first.id)
    assert again.exit_code == 2
    assert first.id in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("create", 2, "--scope"),
        ("create --scope root", 2, "root"),
        ("create --scope admin --tenant acme", 2, "made: a key of tenant acme cannot"),
        ("create --scope search --tenant A/B", 2, "tenant"),
        ("list", 3, "keys create"),
        ("revoke 000000000000", 3, "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    isoglot, key_file, arguments, code, message
):
    result = isoglot("keys", *arguments.split())

    assert result.exit_code == code
    assert message in result.stderr
    assert not key_file.exists()


def test_a_broken_key_file_is_not_overwritten(isoglot, key_file):
    key_file.write_text("{broken")

    assert isoglot("keys", "create", "--scope", "search").exit_code == 3
    assert key_file.read_text() == "{broken"


def test_the_key_file_has_to_be_named(isoglot):
    result = isoglot("keys", "list")

    assert result.exit_code == 2
    assert "ISOGLOT_KEY_FILE" in result.stderr


def test_a_key_file_of_the_command_line_wins(isoglot, key_file, tmp_path):
    other = tmp_path / "other.json"
    isoglot("keys", "create", "--scope", "search", "--key-file", other)

    assert other.exists()
    assert not key_file.exists()
