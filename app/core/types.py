"""Values that cross module borders: frozen, and without behaviour of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

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
        document_id: Id of the document that it was split from.
        span: Its first character in that document, and the one after its last.
        memo: Of ``fingerprint_of``; in one process, and no part of what it says.
    """

    id: str
    text: str
    language: str = UNDETERMINED
    parallel_id: str | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    document_id: str | None = None
    span: tuple[int, int] | None = None
    memo: int | None = field(default=None, init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Split:
    """How to cut a long text; exactly one of the sizes is given.

    Attributes:
        max_characters: Most characters of a piece.
        max_tokens: Most tokens of a piece, as the tokenizer of the encoder counts them.
        overlap: How much of the end of a piece the next one repeats, in the same unit at most.
    """

    max_characters: int | None = None
    max_tokens: int | None = None
    overlap: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPassage:
    """A passage with its embedding.

    Attributes:
        passage: The passage.
        vector: float32 of shape (dim,).
        content_hash: Of what was sent; the same hash means that nothing has to be written.
    """

    passage: Passage
    vector: VectorArray
    content_hash: str = ""


class ScoredPassage(NamedTuple):
    """A passage as a store returns it; ``score`` is the exact cosine of the encoder's vectors."""

    passage: Passage
    score: float


FieldKind: TypeAlias = Literal["keyword", "integer", "float", "bool", "datetime"]
"""What a filterable field holds."""

FieldValue: TypeAlias = str | int | float | bool | datetime
"""One value of a filterable field, as ``app.core.passages.filters.field_values`` returns it."""


@dataclass(frozen=True, slots=True)
class MatchAny:
    """Holds for a passage one of whose values of the field is among ``values``."""

    field: str
    values: frozenset[str | int | bool]


@dataclass(frozen=True, slots=True)
class MatchExcept:
    """Holds for a passage one of whose values of the field is not among ``values``."""

    field: str
    values: frozenset[str | int | bool]


@dataclass(frozen=True, slots=True)
class FieldRange:
    """Holds for a passage one of whose values of the field lies within all bounds.

    Attributes:
        field: An integer, float or datetime field.
        gt: Lower bound, excluded.
        gte: Lower bound, included.
        lt: Upper bound, excluded.
        lte: Upper bound, included.
    """

    field: str
    gt: float | datetime | None = None
    gte: float | datetime | None = None
    lt: float | datetime | None = None
    lte: float | datetime | None = None


@dataclass(frozen=True, slots=True)
class IsEmpty:
    """Holds for a passage that has no value of the field."""

    field: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions joined as in Qdrant; an empty filter holds for every passage.

    Attributes:
        must: All of them hold.
        should: At least one of them holds, where there are any.
        must_not: None of them holds.
    """

    must: tuple[Condition, ...] = ()
    should: tuple[Condition, ...] = ()
    must_not: tuple[Condition, ...] = ()


Condition: TypeAlias = MatchAny | MatchExcept | FieldRange | IsEmpty | Filter


@dataclass(frozen=True, slots=True)
class PassageFilter:
    """Which passages are eligible.

    Attributes:
        languages: Only passages in these languages; ``None`` for no restriction.
        condition: Only passages for which it holds; ``None`` for no restriction.
    """

    languages: frozenset[str] | None = None
    condition: Filter | None = None


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


@dataclass(frozen=True, slots=True, eq=False)
class WordsQuery:
    """One question to a store for passages that share words with a query.

    Attributes:
        words: Token ids of the query (``app.core.lexical.query_words``), ascending, each once.
        vector: Query embedding, float32 of shape (dim,), for the cosines of what is found.
        limit: How many passages to return at most.
        where: Which passages are eligible.
        beside: Ids of passages that were found otherwise, whose lexical scores are wanted too.
        counted: In which passages it is counted how frequent a word is.
    """

    words: tuple[int, ...]
    vector: VectorArray
    limit: int
    where: PassageFilter = ANY_PASSAGE
    beside: tuple[str, ...] = ()
    counted: PassageFilter = ANY_PASSAGE


class PassageWithWords(NamedTuple):
    """A passage that shares words with a query.

    Attributes:
        passage: What was found.
        score: Exact cosine of the encoder's vectors.
        lexical_score: BM25, above 0.
    """

    passage: Passage
    score: float
    lexical_score: float


@dataclass(frozen=True, slots=True)
class FoundByWords:
    """The answer to a ``WordsQuery``.

    Attributes:
        hits: Best lexical score first, then by id.
        beside: Id to lexical score for those of ``WordsQuery.beside`` that share a word with the
            query.
    """

    hits: list[PassageWithWords]
    beside: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """What a collection was, or is to be, indexed with.

    Attributes:
        name: Collection name.
        encoder_id: Fingerprint of the encoder (``EncoderSpec.fingerprint``).
        dim: Number of dimensions of its vectors.
        fields: Members of the metadata that filters may read, and what they hold.
        words: Whether its passages are to be found by words too. A collection whose words are
            indexed keeps them so, whatever this says when it is opened again.
    """

    name: str
    encoder_id: str
    dim: int
    fields: Mapping[str, FieldKind] = field(default_factory=dict)
    words: bool = False


@dataclass(frozen=True, slots=True)
class IndexedWith:
    """What a collection was indexed with.

    Attributes:
        encoder_id: Fingerprint of the encoder of all its vectors.
        dim: Number of dimensions of its vectors.
    """

    encoder_id: str
    dim: int


@dataclass(frozen=True, slots=True)
class Served:
    """Which collection is served.

    Attributes:
        collection: Its name on its shelf.
        bundle: Directory of the bundle that it was switched to with; empty before any switch.
    """

    collection: str
    bundle: str = ""


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
