from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from app.core.access.keys import (
    SCOPES,
    TENANT_SCOPES,
    UNRESTRICTED,
    Access,
    KeyDocument,
    KeyRing,
    digest_of,
    dump_keys,
    make_key,
    parse_keys,
)
from app.core.errors import (
    InvalidInputError,
    KeyFileError,
    MissingScopeError,
    UnauthenticatedError,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def key_with(**terms: object):
    return make_key({"scopes": ["search"], "created": NOW, **terms})


def test_a_key_is_known_by_its_secret_and_by_nothing_else():
    key, token = key_with(name="shop")
    other, another = key_with()
    ring = KeyRing([key, other])

    assert ring.identify(token, now=NOW) == key
    assert ring.identify(another, now=NOW) == other
    for wrong in (
        None,
        "",
        key.id,
        key.sha256,
        token[:-1],
        token + "A",
        token.upper(),
        f" {token}",
        token.replace(key.id, other.id),
        another.replace(other.id, key.id),
        "é",
        "\ud800",
    ):
        with pytest.raises(UnauthenticatedError):
            ring.identify(wrong, now=NOW)


def test_what_is_kept_of_a_key_does_not_hold_its_secret():
    key, token = key_with()
    kept = dump_keys(KeyDocument(keys=(key,)))
    secret = token.split("_", 2)[2]

    assert secret not in kept
    assert digest_of(token) in kept
    assert len(secret) == 43  # 256 bits


def test_two_keys_share_neither_id_nor_secret():
    made = [key_with() for _ in range(100)]

    assert len({key.id for key, _ in made}) == 100
    assert len({token for _, token in made}) == 100


def test_a_key_is_refused_from_the_moment_it_expires():
    key, token = key_with(expires=NOW)
    ring = KeyRing([key])

    assert ring.identify(token, now=NOW - timedelta(seconds=1)) == key
    with pytest.raises(UnauthenticatedError, match="expired on 2026-11-22"):
        ring.identify(token, now=NOW)


def test_expiry_is_told_only_to_those_who_have_the_secret():
    key, token = key_with(expires=NOW - timedelta(days=1))

    with pytest.raises(UnauthenticatedError) as refused:
        KeyRing([key]).identify(token[:-1] + ("A" if token[-1] != "A" else "B"), now=NOW)
    assert "expired" not in str(refused.value)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_allows_itself_and_no_other(scope):
    granted = Access(scopes=frozenset({scope}), key_id="0" * 12)

    granted.require(scope)
    for other in set(SCOPES) - {scope}:
        with pytest.raises(MissingScopeError, match=f"scope '{other}'"):
            granted.require(other)


@pytest.mark.parametrize("scope", SCOPES)
def test_without_keys_everything_is_allowed(scope):
    UNRESTRICTED.require(scope)


def test_a_file_says_what_was_written():
    document = KeyDocument(
        keys=(
            key_with(name="shop", tenant="acme", expires=NOW)[0],
            key_with(scopes=list(SCOPES), requests_per_minute=90.5, burst=3)[0],
        )
    )

    assert parse_keys(dump_keys(document).encode()) == document


@pytest.mark.parametrize("scope", sorted(set(SCOPES) - TENANT_SCOPES))
def test_the_key_of_a_tenant_has_no_scope_that_reaches_beyond_it(scope):
    with pytest.raises(InvalidInputError, match=scope):
        key_with(tenant="acme", scopes=["search", scope])


@pytest.mark.parametrize(
    "terms",
    [
        {"scopes": []},
        {"scopes": ["root"]},
        {"tenant": "a/b"},
        {"tenant": ""},
        {"tenant": "Acme"},
        {"requests_per_minute": 0},
        {"requests_per_minute": float("inf")},
        {"burst": 0},
        {"created": "2026-11-22T12:00:00"},
        {"colour": "red"},
    ],
)
def test_a_key_with_impossible_terms_is_not_made(terms):
    with pytest.raises(InvalidInputError, match="cannot be made"):
        key_with(**terms)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"keys": {}},
        {"keys": [{"id": "nonsense"}]},
        {"extra": 1},
    ],
)
def test_a_file_of_another_form_is_refused(change):
    with pytest.raises(KeyFileError):
        parse_keys(json.dumps({"version": 1, "keys": [], **change}).encode())


def test_a_file_with_a_key_twice_is_refused():
    key, _ = key_with()

    with pytest.raises(KeyFileError, match=f"{key.id} occurs twice"):
        parse_keys(json.dumps({"keys": [key.model_dump(mode="json")] * 2}).encode())


def test_a_secret_in_the_wrong_place_is_not_repeated_in_the_error():
    _, token = key_with()

    with pytest.raises(KeyFileError) as refused:
        parse_keys(json.dumps({"keys": [{"id": token, "sha256": token}]}).encode())
    assert token not in str(refused.value)
