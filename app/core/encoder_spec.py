"""The contract of an encoder: everything that changes a score, and its fingerprint.

The only code that adds prefixes to texts. Training and the service both use it, so that what is
served is what was measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from app.core.types import JsonValue

FINGERPRINT_LENGTH = 12

Pooling: TypeAlias = Literal["mean", "sublinear", "cls"]
"""How token vectors become one vector.

``mean``; ``sublinear``, a mean in which a token that stands n times in a text counts sqrt(n) times
instead of n, as term frequencies are damped in text retrieval (Manning, Raghavan, Schuetze 2008,
"Introduction to Information Retrieval", 6.4.1); ``cls``, the vector of the first token.
"""


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """What an encoder is.

    Attributes:
        name: Name a person recognises.
        base_model: What it was trained from: a hub id, or ``static`` for a trained token table.
        revision: sha256 over weights and tokenizer, so two trainings never share one.
        dim: Number of dimensions of a vector.
        pooling: How token vectors become one vector.
        normalize: Whether vectors have Euclidean norm 1; only True is served.
        max_length: Number of tokens that are read of a text.
        query_prefix: Put before every query.
        passage_prefix: Put before every passage.
        similarity: How a score is computed from two vectors; only cosine is served.
        dtype: Number format of the weights as they were trained and measured.
        languages: BCP-47 codes it was trained for, sorted.
    """

    name: str
    base_model: str
    revision: str
    dim: int
    pooling: Pooling
    max_length: int
    languages: tuple[str, ...]
    normalize: bool = True
    query_prefix: str = ""
    passage_prefix: str = ""
    similarity: Literal["cosine"] = "cosine"
    dtype: str = "float32"

    def fingerprint(self) -> str:
        """Return 12 hex digits that change with anything that changes a score.

        ``name`` and ``languages`` describe and do not compute; ``dtype`` is left out too, because
        int8 and float32 runs of one encoder answer the same collection (their agreement is
        measured when the encoder is exported).
        """
        return _fingerprint(self)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the JSON object of this contract."""
        return {**asdict(self), "languages": list(self.languages)}

    def as_queries(self, texts: Sequence[str]) -> list[str]:
        """Return the texts as the encoder must read them as queries."""
        return [self.query_prefix + text for text in texts]

    def as_passages(self, texts: Sequence[str]) -> list[str]:
        """Return the texts as the encoder must read them as passages."""
        return [self.passage_prefix + text for text in texts]


@lru_cache(maxsize=16)
def _fingerprint(spec: EncoderSpec) -> str:
    # Every answer states it.
    facts = asdict(spec)
    for descriptive in ("name", "languages", "dtype"):
        del facts[descriptive]
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:FINGERPRINT_LENGTH]
