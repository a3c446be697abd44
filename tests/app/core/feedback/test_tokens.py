import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import FeedbackRejectedError
from app.core.feedback.entries import Statement
from app.core.feedback.tokens import MAX_TOKEN_CHARACTERS, FeedbackTokens
from tests.app.core.feedback.statements import ISSUED, statement

KEY = b"k" * 32
DAY = 86_400


def tokens(key: bytes = KEY, *, collection: str = "passages", now: float = ISSUED, lifetime=DAY):
    return FeedbackTokens(key, collection=collection, lifetime=lifetime, clock=lambda: now)


def refusal(token: str, reader: FeedbackTokens, tenant: str | None = None) -> str:
    with pytest.raises(FeedbackRejectedError) as caught:
        reader.read(token, tenant=tenant)
    return caught.value.reason


def test_a_token_says_what_was_stated_and_what_the_calibrator_read():
    said = statement(passage_id="Straße/ελ 1", tenant="acme")

    token = tokens().sign(said)

    assert tokens().read(token, tenant="acme") == said
    assert tokens().read(token, tenant=None) == said
    assert len(token) < 220


@given(
    st.builds(
        Statement,
        query_id=st.binary(min_size=16, max_size=16).map(bytes.hex),
        passage_id=st.text(min_size=1, max_size=200),
        rank=st.integers(1, 1000),
        probability=st.floats(0, 1),
        calibrator=st.binary(min_size=6, max_size=6).map(bytes.hex),
        query_language=st.sampled_from(["de", "und", "zh-Hant"]),
        passage_language=st.sampled_from(["de", "und", "zh-Hant"]),
        issued=st.just(ISSUED),
        score=st.floats(-1, 1, width=32),
        background=st.floats(-1, 1, width=32),
        corpus_size=st.integers(1, 2**31),
        language_rank=st.integers(1, 1000),
        language_lead=st.floats(0, 2, width=32),
        language_lag=st.floats(0, 2, width=32),
        language_size=st.integers(1, 2**31),
        same=st.floats(0, 1, width=32),
        cross=st.floats(0, 1, width=32),
        shadow=st.sampled_from(["", "00aa11bb22cc"]),
        shadow_probability=st.floats(0, 1),
        tenant=st.sampled_from(["", "acme"]),
    )
)
def test_any_statement_comes_back_as_it_was(said):
    token = tokens().sign(said)

    assert tokens().read(token, tenant=None) == said
    assert len(token) <= MAX_TOKEN_CHARACTERS


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_token_with_any_byte_changed_is_forged(position, change):
    raw = bytearray(base64.urlsafe_b64decode(tokens().sign(statement()) + "=="))
    raw[position % len(raw)] ^= change

    forged = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")

    assert refusal(forged, tokens()) == "forged"


@pytest.mark.parametrize("token", ["", "?", "abc", "é", "AAAA", "A" * 300, "\ud800"])
def test_what_is_no_token_is_forged(token):
    assert refusal(token, tokens()) == "forged"


def test_a_token_of_another_key_or_collection_is_forged():
    token = tokens().sign(statement())

    assert refusal(token, tokens(b"x" * 32)) == "forged"
    assert refusal(token, tokens(collection="other")) == "forged"


def test_a_token_expires():
    token = tokens().sign(statement())

    assert tokens(now=ISSUED + DAY).read(token, tenant=None)
    assert refusal(token, tokens(now=ISSUED + DAY + 1)) == "expired"


def test_a_token_of_another_version_has_expired(monkeypatch):
    monkeypatch.setattr("app.core.feedback.tokens._VERSION", 9)
    token = tokens().sign(statement())
    monkeypatch.undo()

    assert refusal(token, tokens()) == "expired"


def test_a_tenant_speaks_of_its_own_passages_alone():
    theirs = tokens().sign(statement(tenant="other"))
    everybodys = tokens().sign(statement())

    assert refusal(theirs, tokens(), tenant="acme") == "unknown"
    assert refusal(everybodys, tokens(), tenant="acme") == "unknown"


def test_numbers_beyond_the_record_are_cut_at_its_end():
    said = statement(rank=70_000, language_rank=70_000, corpus_size=2**40, language_size=2**40)

    read = tokens().read(tokens().sign(said), tenant=None)

    assert read == said._replace(
        rank=65_535, language_rank=65_535, corpus_size=2**32 - 1, language_size=2**32 - 1
    )


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="16 bytes"):
        tokens(b"short")
