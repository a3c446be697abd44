"""Values that cross module borders: frozen, and without behaviour of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
VectorArray: TypeAlias = NDArray[np.float32]
BoolArray: TypeAlias = NDArray[np.bool_]

JsonScalar: TypeAlias = str | int | float | bool | None
JsonValue: TypeAlias = "JsonScalar | list[JsonValue] | dict[str, JsonValue]"

UNDETERMINED = "und"
"""BCP-47 code of a language that is not known."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A text that can be found.

    Attributes:
        id: The caller's identifier, unique in its collection.
        text: The text that is embedded and shown.
        language: BCP-47 code, or ``und``.
        parallel_id: Shared by translations of one text; the key of language-bias metrics.
        metadata: Anything JSON; returned as it came.
    """

    id: str
    text: str
    language: str = UNDETERMINED
    parallel_id: str | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPassage:
    """A passage with its embedding, float32 of shape (dim,)."""

    passage: Passage
    vector: VectorArray


@dataclass(frozen=True, slots=True)
class ScoredPassage:
    """A passage as a store returns it; ``score`` is the exact cosine of the encoder's vectors."""

    passage: Passage
    score: float


@dataclass(frozen=True, slots=True)
class PassageFilter:
    """Which passages are eligible; ``None`` means no restriction."""

    languages: frozenset[str] | None = None


ANY_PASSAGE = PassageFilter()


@dataclass(frozen=True, slots=True, eq=False)
class NearestQuery:
    """One nearest-neighbour question to a store.

    Attributes:
        vector: Query embedding, float32 of shape (dim,).
        limit: How many passages to return at most.
        where: Which passages are eligible.
    """

    vector: VectorArray
    limit: int
    where: PassageFilter = ANY_PASSAGE


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """What a collection was, or is to be, indexed with.

    Attributes:
        name: Collection name.
        encoder_id: Fingerprint of the encoder (``EncoderSpec.fingerprint``).
        dim: Number of dimensions of its vectors.
    """

    name: str
    encoder_id: str
    dim: int


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """How a store is doing.

    Attributes:
        engine: Name and version of the engine.
        passages: Number of stored passages.
        indexed_passages: Number covered by the approximate index; 0 means exact search.
    """

    engine: str
    passages: int
    indexed_passages: int


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What ``PassageStore.build`` did.

    Attributes:
        passages: Number of passages in the rebuilt collection.
        indexed_passages: Number covered by the approximate index afterwards.
        seconds: Wall time of the build.
    """

    passages: int
    indexed_passages: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LanguageGuess:
    """Languages a text may be in.

    Attributes:
        posterior: BCP-47 code to probability, most likely first; the probabilities sum to at
            most 1, and what is missing to 1 is the probability of some other language.
        source: ``declared``, ``detected`` or ``unknown``.
    """

    posterior: Mapping[str, float]
    source: str

    @property
    def code(self) -> str:
        """The most likely language, or ``und`` where nothing is known."""
        return max(self.posterior, key=self.posterior.__getitem__, default=UNDETERMINED)

    @property
    def confidence(self) -> float:
        """Probability of ``code``; 0 where nothing is known."""
        return max(self.posterior.values(), default=0.0)
