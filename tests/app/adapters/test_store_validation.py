"""What the validation in front of every store refuses, and what it lets through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.adapters.store_validation import (
    is_usable_id,
    validate_passages,
    validate_queries,
)
from app.core.errors import InvalidInputError, InvalidPassageError
from app.core.types import EmbeddedPassage, NearestQuery, Passage
from tests.fakes import FAKE_DIM, embed

WRONG_VECTORS: dict[str, Any] = {
    "too short": np.ones(1, dtype=np.float32),
    "too long": np.full(FAKE_DIM + 1, (FAKE_DIM + 1) ** -0.5, dtype=np.float32),
    "two rows": np.full((2, FAKE_DIM), FAKE_DIM**-0.5, dtype=np.float32),
    "NaN": np.full(FAKE_DIM, np.nan, dtype=np.float32),
    "infinite": np.full(FAKE_DIM, np.inf, dtype=np.float32),
    "zero": np.zeros(FAKE_DIM, dtype=np.float32),
    "not of norm 1": np.ones(FAKE_DIM, dtype=np.float32),
    "float64": np.full(FAKE_DIM, FAKE_DIM**-0.5),
    "a list": [FAKE_DIM**-0.5] * FAKE_DIM,
}

WRONG_PASSAGES: dict[str, tuple[Any, str]] = {
    "empty id": (Passage("", "text"), "/1/id"),
    "endless id": (Passage("x" * 513, "text"), "/1/id"),
    "id with a lone surrogate": (Passage("\ud800", "text"), "/1/id"),
    "integer id": (Passage(7, "text"), "/1/id"),  # type: ignore[arg-type]
    "text with a lone surrogate": (Passage("id", "\udfff"), "/1/text"),
    "text of bytes": (Passage("id", b"text"), "/1/text"),  # type: ignore[arg-type]
    "no language": (Passage("id", "text", ""), "/1/language"),
    "integer parallel id": (Passage("id", "text", "en", 7), "/1/parallel_id"),  # type: ignore[arg-type]
}

WRONG_METADATA: dict[str, Any] = {
    "not an object": ["a list"],
    "NaN": {"score": float("nan")},
    "infinity": {"deep": [{"score": float("inf")}]},
    "bytes": {"raw": b"bytes"},
    "a tuple": {"pair": (1, 2)},
    "an integer key": {1: "one"},
    "a huge integer": {"n": 2**64},
    "a lone surrogate": {"s": "\ud800"},
    "a lone surrogate in a key": {"\ud800": 1},
    "endless nesting": {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},
}

GOOD = embed([Passage("first", "one"), Passage("second", "two"), Passage("third", "three")])


def reject(bad: EmbeddedPassage) -> InvalidPassageError:
    with pytest.raises(InvalidPassageError) as caught:
        validate_passages([GOOD[0], bad, GOOD[2]], FAKE_DIM)
    return caught.value


@pytest.mark.parametrize("vector", WRONG_VECTORS.values(), ids=WRONG_VECTORS)
def test_a_wrong_vector_is_refused_with_its_place(vector):
    error = reject(replace(GOOD[1], vector=vector))
    assert error.pointer == "/1/vector"
    assert "'second'" in str(error)


@pytest.mark.parametrize("vector", WRONG_VECTORS.values(), ids=WRONG_VECTORS)
def test_a_wrong_query_vector_is_refused_with_its_place(vector):
    with pytest.raises(InvalidInputError) as caught:
        validate_queries([NearestQuery(GOOD[0].vector, 1), NearestQuery(vector, 1)], FAKE_DIM)
    assert caught.value.pointer == "/1/vector"


@pytest.mark.parametrize(("passage", "pointer"), WRONG_PASSAGES.values(), ids=WRONG_PASSAGES)
def test_a_wrong_passage_is_refused_with_its_place(passage, pointer):
    assert reject(replace(GOOD[1], passage=passage)).pointer == pointer


@pytest.mark.parametrize("metadata", WRONG_METADATA.values(), ids=WRONG_METADATA)
def test_metadata_that_is_not_json_is_refused(metadata):
    error = reject(replace(GOOD[1], passage=Passage("second", "two", metadata=metadata)))
    assert error.pointer == "/1/metadata"


def test_an_id_that_occurs_twice_is_refused_with_both_places():
    error = reject(replace(GOOD[1], passage=Passage("first", "another text")))
    assert error.pointer == "/1/id"
    assert "at 0 and at 1" in str(error)


def test_everything_json_can_say_is_accepted():
    nested: list[Any] = []
    for _ in range(30):
        nested = [nested]
    metadata: dict[str, Any] = {
        "deep": nested,
        "n": [None, True, -(2**63), 2**64 - 1, 5e-324],
        "": {"ключ": "値"},
    }
    passage = Passage("x" * 512, "", "und", "", metadata)
    validate_passages([replace(GOOD[0], passage=passage)], FAKE_DIM)


def test_the_norm_of_a_half_precision_encoder_is_close_enough():
    rounded = GOOD[0].vector.astype(np.float16).astype(np.float32)
    validate_passages([replace(GOOD[0], vector=rounded)], FAKE_DIM)
    validate_queries([NearestQuery(rounded, 1)], FAKE_DIM)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit):
    with pytest.raises(InvalidInputError, match="at least 1"):
        validate_queries([NearestQuery(GOOD[0].vector, limit)], FAKE_DIM)


def test_usable_ids_are_those_a_passage_may_have():
    assert is_usable_id("any string / of: moderate\nlength")
    assert not any(map(is_usable_id, ["", "\ud800", "x" * 513, 7, None]))
