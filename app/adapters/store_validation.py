"""What a passage store accepts; every store checks the same, before it writes anything.

An engine may log a write before it looks at it, so a write that the engine rejects can come back
at the next start. Nothing may reach an engine that these functions have not passed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from app.core.errors import InvalidInputError, InvalidPassageError, MalformedFilterError
from app.core.passages.fields import EXPECTED, FACET_KINDS, kind_of
from app.core.types import (
    UNDETERMINED,
    EmbeddedPassage,
    FieldKind,
    NearestQuery,
    Passage,
    WordsQuery,
)

MAX_ID_LENGTH = 512
"""Longest passage id, in characters."""

MAX_METADATA_DEPTH = 32
"""Deepest nesting of metadata; storage formats give up on deeper documents."""

NORM_TOLERANCE = 1e-3
"""How far the Euclidean norm of a vector may be from 1, to allow for half-precision encoders."""

INT64_MIN, UINT64_MAX = -(2**63), 2**64 - 1


def validate_passages(passages: Sequence[EmbeddedPassage], dim: int) -> None:
    """Check all passages of one upsert.

    Args:
        passages: What a caller wants to store.
        dim: Number of dimensions of the collection.

    Raises:
        InvalidPassageError: The first passage that cannot be stored; ``pointer`` is relative to
            ``passages``, for example ``/3/vector``.
    """
    seen: dict[str, int] = {}
    for index, embedded in enumerate(passages):
        _check_passage(embedded.passage, f"/{index}")
        problem = _vector_problem(embedded.vector, dim)
        if problem is not None:
            raise InvalidPassageError(
                f"The vector of passage {embedded.passage.id!r} {problem}.",
                pointer=f"/{index}/vector",
            )
        first = seen.setdefault(embedded.passage.id, index)
        if first != index:
            raise InvalidPassageError(
                f"Passage id {embedded.passage.id!r} occurs twice in one call, at {first} and "
                f"at {index}. Send it once, or in two calls.",
                pointer=f"/{index}/id",
            )


def validate_queries(queries: Sequence[NearestQuery | WordsQuery], dim: int) -> None:
    """Check all queries of one search.

    Args:
        queries: What a caller wants to ask.
        dim: Number of dimensions of the collection.

    Raises:
        InvalidInputError: The first query that cannot be asked; ``pointer`` is relative to
            ``queries``, for example ``/0/limit``.
    """
    for index, query in enumerate(queries):
        problem = _vector_problem(query.vector, dim)
        if problem is not None:
            raise InvalidInputError(f"The query vector {problem}.", pointer=f"/{index}/vector")
        if query.limit < 1:
            raise InvalidInputError(
                f"The limit of a query must be at least 1, not {query.limit}.",
                pointer=f"/{index}/limit",
            )


def validate_scan(limit: int, after: str | None) -> None:
    """Check what a caller wants to list.

    Raises:
        InvalidInputError: The limit is below 1, or no passage can have the id to go on from.
    """
    if limit < 1:
        raise InvalidInputError(f"The limit must be at least 1, not {limit}.", pointer="/limit")
    if after is not None and not is_usable_id(after):
        raise InvalidInputError("No passage can have the id to go on from.", pointer="/after")


def validate_facets(field: str, limit: int, fields: Mapping[str, FieldKind]) -> None:
    """Check which values a caller wants counted.

    Raises:
        MalformedFilterError: The field is not declared, or its values are not counted.
        InvalidInputError: The limit is below 1.
    """
    kind = kind_of(field, fields, pointer="/field")
    if kind not in FACET_KINDS:
        raise MalformedFilterError(
            f"{field!r} is {EXPECTED[kind]}; only keywords, integers and booleans are counted.",
            pointer="/field",
        )
    if limit < 1:
        raise InvalidInputError(f"The limit must be at least 1, not {limit}.", pointer="/limit")


def is_usable_id(value: object) -> bool:
    """Return whether a passage can have this id; ids that none can have are simply not found."""
    return _id_problem(value) is None


def _check_passage(passage: Passage, pointer: str) -> None:
    id_problem = _id_problem(passage.id)
    if id_problem is not None:
        raise InvalidPassageError(f"A passage id {id_problem}.", pointer=f"{pointer}/id")
    fields: dict[str, object] = {
        "text": passage.text,
        "language": passage.language,
        "parallel_id": "" if passage.parallel_id is None else passage.parallel_id,
        "document_id": "" if passage.document_id is None else passage.document_id,
    }
    for name, value in fields.items():
        problem = _string_problem(value)
        if problem is not None:
            raise InvalidPassageError(
                f"The {name} of passage {passage.id!r} {problem}.", pointer=f"{pointer}/{name}"
            )
    if not passage.language:
        raise InvalidPassageError(
            f"The language of passage {passage.id!r} is empty; use {UNDETERMINED!r} where it is "
            "not known.",
            pointer=f"{pointer}/language",
        )
    _check_metadata(passage, pointer)


def _check_metadata(passage: Passage, pointer: str) -> None:
    metadata: object = passage.metadata
    problem = (
        _json_problem(metadata, MAX_METADATA_DEPTH)
        if isinstance(metadata, dict)
        else f"must be a JSON object (a dict), not {type(metadata).__name__}"
    )
    if problem is not None:
        raise InvalidPassageError(
            f"The metadata of passage {passage.id!r} {problem}.", pointer=f"{pointer}/metadata"
        )


def _id_problem(value: object) -> str | None:
    problem = _string_problem(value)
    if problem is not None:
        return problem
    assert isinstance(value, str)
    if not 1 <= len(value) <= MAX_ID_LENGTH:
        return f"must have 1 to {MAX_ID_LENGTH} characters, not {len(value)}"
    return None


def _string_problem(value: object) -> str | None:
    """Lone surrogates are legal in Python strings and in JSON escapes, but not in UTF-8."""
    if not isinstance(value, str):
        return f"must be a string, not {type(value).__name__}"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f"holds a lone surrogate at character {error.start}, which is not valid Unicode"
    return None


def _json_problem(value: object, depth_left: int) -> str | None:
    match value:
        case None | bool():
            return None
        case str():
            return _string_problem(value)
        case int() | float():
            return _number_problem(value)
        case dict() | list() if depth_left == 0:
            return f"is nested deeper than {MAX_METADATA_DEPTH} levels"
        case dict():
            return _object_problem(value, depth_left)
        case list():
            return _first_problem([_json_problem(item, depth_left - 1) for item in value])
        case _:
            return f"holds a value of type {type(value).__name__}, which is not JSON"


def _object_problem(members: dict[object, object], depth_left: int) -> str | None:
    for key, value in members.items():
        if not isinstance(key, str):
            return f"has a key of type {type(key).__name__}; JSON keys are strings"
        problem = _string_problem(key) or _json_problem(value, depth_left - 1)
        if problem is not None:
            return problem
    return None


def _first_problem(problems: list[str | None]) -> str | None:
    return next((problem for problem in problems if problem is not None), None)


def _number_problem(value: float) -> str | None:
    if isinstance(value, int):
        if INT64_MIN <= value <= UINT64_MAX:
            return None
        return f"holds {value}, which does not fit into 64 bits; send it as a string"
    return None if math.isfinite(value) else f"holds {value}, which is not a JSON number"


def _vector_problem(vector: object, dim: int) -> str | None:
    if not isinstance(vector, np.ndarray) or vector.dtype != np.float32:
        kind = getattr(vector, "dtype", type(vector).__name__)
        return f"must be a numpy array of float32, not {kind}"
    if vector.shape != (dim,):
        return f"has shape {vector.shape}, but the collection holds vectors of shape ({dim},)"
    norm = float(np.linalg.norm(vector))
    if not math.isfinite(norm):
        return "is not finite: it holds NaN or infinity"
    if abs(norm - 1.0) > NORM_TOLERANCE:
        return f"has norm {norm:.6g}, but must have norm 1"
    return None
