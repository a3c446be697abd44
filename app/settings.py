"""Settings of the service: what can be set, to what, and what each means.

``app/environment.py`` reads them; ``app/bootstrap`` turns them into adapters.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.core.bundle import EncoderEngine
from app.core.passages.fields import check_fields
from app.core.types import FieldKind

PREFIX = "ISOGLOT_"
STARTER_BUNDLE = "bundles/starter"

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]


def shipped(name: str) -> list[Path]:
    """Return where a directory that ships with the project may lie, the first choice first.

    The working directory comes before the checkout this package lies in, and that before
    ``share/isoglot`` of the environment that a wheel was installed in.
    """
    checkout = Path(__file__).resolve().parents[1]
    return [Path(name), checkout / name, Path(sys.prefix) / "share" / "isoglot" / name]


def starter_bundle() -> Path:
    """Return the bundle that is used when none is named; see ``shipped``."""
    places = shipped(STARTER_BUNDLE)
    return next((place for place in places if place.is_dir()), places[0])


class Settings(BaseSettings):
    """Everything that can be set; each field is the variable ``ISOGLOT_<NAME>``.

    Build it with ``load_settings`` of ``app/environment.py``, which also finds misspelt variables.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    bundle: Path = Field(
        default_factory=starter_bundle,
        description="Directory of the bundle to serve.",
    )
    data_dir: Path = Field(
        default=Path("data"),
        description="Directory under which collections are stored, each in its own directory.",
    )
    disk_reserve_mib: int = Field(
        default=256,
        ge=0,
        le=1 << 20,
        description="MiB that stay free on the disk of ISOGLOT_DATA_DIR: passages that would take "
        "them are refused with 507.",
    )
    collection: str = Field(
        default="passages",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$",
        description="Name of the collection: lower-case letters, digits, '-' and '_'.",
    )
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen on; 0.0.0.0 opens the service to the network.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 picks one.")
    encoder_threads: int = Field(
        default_factory=lambda: min(8, os.cpu_count() or 1),
        ge=1,
        le=256,
        description="CPU threads that one pass of the encoder may use.",
    )
    encoder_engine: EncoderEngine = Field(
        default="auto",
        description="What computes the encoder: torch (needs the extra `gpu`), int8 or float32 of "
        "ONNX Runtime, or auto: torch where it sees a GPU, else the faster graph of the bundle.",
    )
    max_body_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1024,
        le=1024**3,
        description="Largest JSON request body in bytes. NDJSON streams are limited by line.",
    )
    max_searches: int = Field(
        default=256,
        ge=1,
        le=10_000,
        description="Searches and embeddings under way at a time; more are refused with 429.",
    )
    max_wait_ms: int = Field(
        default=100,
        ge=1,
        le=600_000,
        description="Where more than 32 searches are under way, those that would wait longer for "
        "them, in milliseconds, are refused with 429.",
    )
    max_batch: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Most passages in one JSON request. NDJSON streams have no such limit.",
    )
    filter_fields: Annotated[dict[str, FieldKind], NoDecode] = Field(
        default={},
        description="Members of the metadata that filters may read, as `name:kind` separated by "
        "commas; kinds are keyword, integer, float, bool and datetime.",
    )
    hybrid: bool = Field(
        default=False,
        description="Whether the words of passages are indexed beside their vectors, so that "
        "searches may ask for `retrieval` `hybrid`. Words of passages that are stored already "
        "are indexed at the next start; once indexed they stay so.",
    )
    body_timeout: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Longest pause in seconds within a request body, NDJSON streams included.",
    )
    key_file: Path | None = Field(
        default=None,
        description="File with API keys (see access.md). Without it the service answers this "
        "machine only.",
    )
    insecure: bool = Field(
        default=False,
        description="Whether to answer other machines although there is no key file.",
    )
    rate_limit: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Requests a minute of an API key that has no limit of its own; unlimited by "
        "default.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins whose web pages may call the service, separated by commas; none by "
        "default.",
    )
    feedback_key: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="Secret that feedback tokens are signed with, at least 32 characters. Without "
        "it one is made in the data directory; processes that share an address need the same.",
    )
    feedback_log: SecretStr | None = Field(
        default=None,
        description="Where feedback is kept: `postgresql://...`, or by default a file of SQLite in "
        "the data directory.",
    )
    feedback_days: float = Field(
        default=30.0,
        gt=0,
        le=3650,
        description="Days after a search for which feedback on it is taken.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="API key that the commands send with `--url`; the service does not read it.",
    )
    qdrant_url: str | None = Field(
        default=None,
        description="Address of a Qdrant server, with scheme and port, such as "
        "http://qdrant:6333. Without it passages are stored in ISOGLOT_DATA_DIR.",
    )
    qdrant_api_key: SecretStr | None = Field(
        default=None, description="API key of the Qdrant server; it must allow writing."
    )
    qdrant_grpc: bool = Field(
        default=False, description="Whether to talk to the Qdrant server over gRPC."
    )
    qdrant_grpc_port: int = Field(
        default=6334, ge=1, le=65535, description="gRPC port of the Qdrant server."
    )
    qdrant_timeout: float = Field(
        default=5.0,
        gt=0,
        le=300,
        description="Seconds after which a call to the Qdrant server is given up for good.",
    )
    qdrant_shards: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Shards of a new collection; by default the server decides.",
    )
    qdrant_replicas: int = Field(
        default=1, ge=1, le=64, description="Copies of every shard of a new collection."
    )
    qdrant_write_consistency: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Copies that must have a write before it is acknowledged.",
    )
    qdrant_vectors_on_disk: bool = Field(
        default=False,
        description="Whether a new collection leaves exact vectors on disk; int8 ones are in "
        "memory all the same.",
    )
    log_level: LogLevel = Field(default="info", description="Least severity that is logged.")
    log_format: LogFormat = Field(
        default="console",
        description="console for people, json for one JSON object a line.",
    )

    @field_validator("filter_fields", mode="before")
    @classmethod
    def _read_fields(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        declarations = [part.partition(":") for part in value.split(",") if part.strip()]
        names = [name.strip() for name, _, _ in declarations]
        if len(set(names)) < len(names):
            raise ValueError("a field is declared twice")
        return check_fields({name.strip(): kind.strip() for name, _, kind in declarations})

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if (
                parts.scheme not in {"http", "https"}
                or origin != f"{parts.scheme}://{parts.netloc}"
            ):
                raise ValueError(
                    f"{origin!r} is no origin; write scheme, host and port, such as "
                    "https://shop.example, without a path; * is not accepted"
                )
        return value

    @field_validator("qdrant_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "http://none")
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise ValueError("write scheme, host and port, such as http://qdrant:6333")
        if parts.username or parts.password:
            raise ValueError("leave the key out of the address; ISOGLOT_QDRANT_API_KEY is for it")
        return value

    @field_validator("qdrant_write_consistency")
    @classmethod
    def _has_copies(cls, value: int, info: ValidationInfo) -> int:
        copies = info.data.get("qdrant_replicas", value)
        if value > copies:
            raise ValueError(f"ISOGLOT_QDRANT_REPLICAS keeps only {copies} copies of a shard")
        return value

    @field_validator("feedback_log")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        known = ("postgresql://", "postgres://")
        if value is not None and not value.get_secret_value().startswith(known):
            raise ValueError("write postgresql://USER:PASSWORD@HOST/DATABASE")
        return value

    @property
    def collection_dir(self) -> Path:
        """Where the collection lies."""
        return self.data_dir / self.collection


def secret_settings() -> list[str]:
    """Return the names of the settings that are secret: these can be read from files."""
    return [
        name
        for name, field in Settings.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    ]
