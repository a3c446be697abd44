"""Who may do what: API keys, their scopes, and the tenant that a key is bound to.

A secret is 256 random bits, so its SHA-256 is kept and nothing slower: slow password hashes make
guessable secrets expensive to guess, and nobody guesses 256 bits. A slow hash would instead give
every stranger who sends a made-up key a way to burn the processor.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from app.core.errors import InvalidInputError, KeyFileError, MissingScopeError, UnauthenticatedError

Scope = Literal["search", "ingest", "feedback", "admin", "metrics"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""What a key may be allowed: to read, to write passages, to judge hits, to run, to watch."""

TENANT_SCOPES: frozenset[Scope] = frozenset({"search", "ingest", "feedback"})
"""Scopes of a key that is bound to a tenant; the others reach beyond one tenant."""

TENANT_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"

_TOKEN = re.compile(r"iso_(?P<id>[0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_SECRET_BYTES = 32
_ID_BYTES = 6
_NO_DIGEST = "0" * 64


class ApiKey(BaseModel):
    """A key as it is kept: everything but the secret.

    Attributes:
        id: Public part of the key, by which it is found and named in logs.
        sha256: Hexadecimal SHA-256 of the whole key.
        name: What the key is for, in words.
        scopes: What it may do.
        tenant: The only tenant it reads and writes; ``None`` for all passages.
        requests_per_minute: Requests it may make on average; ``None`` for the service's default.
        burst: Requests it may make at once; ``None`` for one minute's worth.
        created: When it was made.
        expires: From when it is refused; ``None`` for never.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    name: str = ""
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    tenant: Annotated[str, StringConstraints(pattern=TENANT_PATTERN)] | None = None
    requests_per_minute: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    burst: Annotated[int, Field(ge=1)] | None = None
    created: AwareDatetime
    expires: AwareDatetime | None = None

    @model_validator(mode="after")
    def _tenant_stays_inside(self) -> Self:
        beyond = sorted(set(self.scopes) - TENANT_SCOPES)
        if self.tenant is not None and beyond:
            raise ValueError(
                f"a key of tenant {self.tenant} cannot have the scope {beyond[0]}, which reaches "
                "beyond one tenant"
            )
        return self


class KeyDocument(BaseModel):
    """A key file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    keys: tuple[ApiKey, ...] = ()

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        ids = [key.id for key in self.keys]
        twice = sorted({key_id for key_id in ids if ids.count(key_id) > 1})
        if twice:
            raise ValueError(f"key {twice[0]} occurs twice")
        return self


@dataclass(frozen=True, slots=True)
class Access:
    """What a request may do.

    Attributes:
        scopes: What is allowed.
        tenant: The only tenant whose passages it sees and writes; ``None`` for all.
        key_id: Which key says so; ``None`` where no keys are configured.
    """

    scopes: frozenset[Scope]
    tenant: str | None = None
    key_id: str | None = None

    def require(self, scope: Scope) -> None:
        """Do nothing if the scope is allowed.

        Raises:
            MissingScopeError: It is not.
        """
        if scope not in self.scopes:
            raise MissingScopeError(scope, key_id=self.key_id or "")


UNRESTRICTED = Access(scopes=frozenset(SCOPES))
"""What every request may do where no keys are configured."""


class KeyRing:
    """Keys that are accepted."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._by_id = {key.id: key for key in keys}

    def __len__(self) -> int:
        return len(self._by_id)

    def identify(self, token: str | None, *, now: datetime) -> ApiKey:
        """Return the key that a request showed.

        The digest of an unknown key is compared too, so that the time tells nothing about ids.

        Args:
            token: What the request showed; ``None`` where it showed nothing.
            now: With time zone.

        Raises:
            UnauthenticatedError: There is no such key, or it has expired.
        """
        if token is None:
            raise UnauthenticatedError("This needs an API key: send `Authorization: Bearer KEY`.")
        found = _TOKEN.fullmatch(token)
        key = self._by_id.get(found["id"]) if found else None
        digest = key.sha256 if key else _NO_DIGEST
        if not hmac.compare_digest(digest_of(token), digest) or key is None:
            raise UnauthenticatedError("The API key is not valid; it may have been revoked.")
        if key.expires is not None and now >= key.expires:
            raise UnauthenticatedError(
                f"The API key {key.id} expired on {key.expires:%Y-%m-%d}; ask for a new one."
            )
        return key


def digest_of(token: str) -> str:
    """Return what is kept of a key: hexadecimal SHA-256 of its characters."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def make_key(terms: Mapping[str, object]) -> tuple[ApiKey, str]:
    """Return a new key, and the secret that its owner must keep: it is kept nowhere else.

    Args:
        terms: Members of ``ApiKey``; id and hash are added.

    Raises:
        InvalidInputError: No key can have such terms.
    """
    key_id = secrets.token_hex(_ID_BYTES)
    token = f"iso_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    try:
        key = ApiKey.model_validate({**terms, "id": key_id, "sha256": digest_of(token)})
    except ValidationError as error:
        raise InvalidInputError(f"Such a key cannot be made: {_reasons(error)}.") from error
    return key, token


def parse_keys(raw: bytes) -> KeyDocument:
    """Return what a key file says.

    Raises:
        KeyFileError: It is not a key file; the message says where and why, without its content.
    """
    try:
        return KeyDocument.model_validate_json(raw)
    except ValidationError as error:
        raise KeyFileError(_reasons(error)) from error


def dump_keys(document: KeyDocument) -> str:
    """Return the text of a key file."""
    return document.model_dump_json(indent=2, exclude_none=True) + "\n"


def _plain(message: str) -> str:
    """Return a message without what pydantic writes before those of our own checks."""
    return message.removeprefix("Value error, ")


def _reasons(error: ValidationError) -> str:
    # Without the input: it may hold a secret that somebody put in the wrong place.
    return "; ".join(
        ".".join(map(str, e["loc"])) + (": " if e["loc"] else "") + _plain(e["msg"])
        for e in error.errors(include_input=False, include_url=False)
    )
