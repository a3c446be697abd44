"""Tokens: what was stated of a hit, signed, so that feedback needs neither a memory nor trust.

A token holds the probability as it was stated, so a label counts for the right calibrator however
late it comes, and whatever the caller would like it to have been. It also holds what the
calibrator read: a refit needs the features, and the alternative, writing them down for every hit
that is served, would be a write for every search, kept for a month, for the one hit in hundreds
that is ever judged.

A token is a version byte, a fixed record, four texts with their lengths, and the first 16 bytes
of an HMAC-SHA256 over all of that, in base64. The key is derived for the collection, so that a
token of one collection says nothing in another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
import time
from collections.abc import Callable
from functools import lru_cache

from app.core.errors import FeedbackRejectedError
from app.core.feedback.entries import Statement

MIN_KEY_BYTES = 16
MAX_TOKEN_CHARACTERS = 4096

_VERSION = 1
_MAC_BYTES = 16
_RECORD = struct.Struct(">B16s6sIHdffIHffIff6sd")
_LENGTH = struct.Struct(">H")
_CONTEXT = b"isoglot feedback token\x00"
_MAX_COUNT = 0xFFFFFFFF
_MAX_RANK = 0xFFFF
_NO_SHADOW = "0" * 12
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class FeedbackTokens:
    """Signs statements and reads them back.

    Args:
        key: Secret of at least ``MIN_KEY_BYTES``.
        collection: Name of the collection.
        lifetime: Seconds for which a token is accepted.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        key: bytes,
        *,
        collection: str,
        lifetime: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"a key has at least {MIN_KEY_BYTES} bytes")
        own = hmac.digest(key, _CONTEXT + collection.encode(), hashlib.sha256)
        # Copied for every token: to begin anew takes four times as long.
        self._begun = hmac.new(own, digestmod="sha256")
        self._lifetime = lifetime
        self._clock = clock

    def now(self) -> float:
        """Return the seconds since 1970."""
        return self._clock()

    def sign(self, statement: Statement) -> str:
        """Return the token of a statement, some 160 characters."""
        payload = _pack(statement)
        token = binascii.b2a_base64(payload + self._mac(payload), newline=False)
        return token.translate(_URL_SAFE).rstrip(b"=").decode()

    def read(self, token: str, *, tenant: str | None) -> Statement:
        """Return what a token states.

        Args:
            token: As it was sent.
            tenant: Whose feedback it is; ``None`` for one who may speak of all passages.

        Raises:
            FeedbackRejectedError: ``forged``: this service has not signed it for this collection.
                ``expired``: it is too old. ``unknown``: it is of another tenant's passage.
        """
        payload = self._verified(token)
        statement = _unpack(payload)
        if tenant is not None and statement.tenant != tenant:
            raise FeedbackRejectedError("unknown")
        if self._clock() - statement.issued > self._lifetime:
            raise FeedbackRejectedError("expired")
        return statement

    def _verified(self, token: str) -> bytes:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise FeedbackRejectedError("forged") from None
        payload, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise FeedbackRejectedError("forged")
        return payload

    def _mac(self, payload: bytes) -> bytes:
        mac = self._begun.copy()
        mac.update(payload)
        return mac.digest()[:_MAC_BYTES]


def _pack(statement: Statement) -> bytes:
    return (
        _RECORD.pack(
            _VERSION,
            bytes.fromhex(statement.query_id),
            bytes.fromhex(statement.calibrator),
            statement.issued,
            min(statement.rank, _MAX_RANK),
            statement.probability,
            statement.score,
            statement.background,
            min(statement.corpus_size, _MAX_COUNT),
            min(statement.language_rank, _MAX_RANK),
            statement.language_lead,
            statement.language_lag,
            min(statement.language_size, _MAX_COUNT),
            statement.same,
            statement.cross,
            bytes.fromhex(statement.shadow or _NO_SHADOW),
            statement.shadow_probability,
        )
        + _pack_known(statement.query_language)
        + _pack_known(statement.passage_language)
        + _pack_known(statement.tenant)
        + _pack_text(statement.passage_id)
    )


def _pack_text(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return _LENGTH.pack(len(encoded)) + encoded


_pack_known = lru_cache(maxsize=1024)(_pack_text)  # languages and tenants are few


def _unpack(payload: bytes) -> Statement:
    """Read what ``_pack`` wrote; the signature vouches for its form, the version for this code."""
    if payload[:1] != bytes([_VERSION]):
        raise FeedbackRejectedError("expired")
    _, query, calibrator, issued, rank, p, score, background, *rest = _RECORD.unpack_from(payload)
    corpus, place, lead, lag, size, same, cross, shadow, shadow_p = rest
    texts, position = [], _RECORD.size
    while position < len(payload):
        (length,) = _LENGTH.unpack_from(payload, position)
        position += _LENGTH.size
        texts.append(payload[position : position + length].decode("utf-8", "surrogatepass"))
        position += length
    query_language, passage_language, tenant, passage_id = texts
    return Statement(
        query_id=query.hex(),
        passage_id=passage_id,
        rank=rank,
        probability=p,
        calibrator=calibrator.hex(),
        query_language=query_language,
        passage_language=passage_language,
        issued=issued,
        score=score,
        background=background,
        corpus_size=corpus,
        language_rank=place,
        language_lead=lead,
        language_lag=lag,
        language_size=size,
        same=same,
        cross=cross,
        shadow="" if shadow.hex() == _NO_SHADOW else shadow.hex(),
        shadow_probability=shadow_p,
        tenant=tenant,
    )
