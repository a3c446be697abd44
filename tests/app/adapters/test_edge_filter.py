"""The engine filters as the core says: random filters on random passages."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.edge.shard import PassageShard
from app.adapters.passage_payload import point_id
from app.core.passages.fields import MAX_INTEGER
from app.core.passages.filters import matches, parse_filter
from app.core.types import FieldKind, Passage, PassageFilter
from tests.fakes import FAKE_DIM, embed

FIELDS: dict[str, FieldKind] = {
    "word": "keyword",
    "whole-number": "integer",
    "number": "float",
    "flag": "bool",
    "moment": "datetime",
}
IDS = [f"p{n}" for n in range(8)]
LANGUAGES = ["de", "en", "und"]

WORDS = ["", "a", "b", "ab", "true", "٣", "\x00", "ключ", "1"]
NUMBERS = [0, 0.0, -0.0, 0.1, 0.1 + 0.2, 0.3, 1, 1e15, -2.5, 1 / 3, 7e-7]
MOMENTS = [
    "2024-01-01",
    "2024-01-01T00:00:00Z",
    "2024-01-01T01:00:00+01:00",
    "2024-01-01T00:00:00.000001",
    "2023-12-31T23:59:59.999999Z",
    "0001-01-01",
    "9999-12-31T23:59:59.999999Z",
]
VALUES: dict[str, list[Any]] = {
    "word": WORDS,
    "whole-number": [*range(-3, 4), MAX_INTEGER, -MAX_INTEGER],
    "number": NUMBERS,
    "flag": [True, False],
    "moment": MOMENTS,
    "language": [*LANGUAGES, "fr"],
    "parallel_id": WORDS,
    "document_id": WORDS,
}
RANGED = ["whole-number", "number", "moment"]
MATCHED = ["word", "whole-number", "flag", "language", "parallel_id", "document_id"]
ANYTHING = [*WORDS, *NUMBERS, *MOMENTS, True, False, None, 2.5, MAX_INTEGER + 1, {"a": 1}, [1]]


class Draw(random.Random):
    """Draws passages and filters; a strategy for each would be a hundred times slower."""

    def passage(self, passage_id: str) -> Passage:
        names = self.sample(list(FIELDS), self.randint(0, len(FIELDS)))
        return Passage(
            passage_id,
            "text",
            self.choice(LANGUAGES),
            self.choice([None, *WORDS]),
            {name: self.held(name) for name in names},
            self.choice([None, *WORDS]),
        )

    def held(self, field: str) -> Any:
        """What metadata may hold for a field: right and wrong values, and lists of them."""
        if self.random() < 0.3:
            return [self.value(field) for _ in range(self.randint(0, 3))]
        return self.value(field)

    def value(self, field: str) -> Any:
        return self.choice(VALUES[field] if self.random() < 0.8 else ANYTHING)

    def filter(self, depth: int = 3) -> dict[str, Any]:
        names = self.sample(["must", "should", "must_not"], self.randint(1, 3))
        return {name: [self.condition(depth) for _ in range(self.randint(0, 2))] for name in names}

    def condition(self, depth: int) -> dict[str, Any]:
        if depth and self.random() < 0.25:
            return self.filter(depth - 1)
        form = self.choice(["match", "match", "range", "is_empty"])
        if form == "match":
            field = self.choice(MATCHED)
            return {"key": field, "match": self.operand(field)}
        if form == "range":
            field = self.choice(RANGED)
            return {"key": field, "range": self.bounds(field)}
        return {"key": self.choice(list(VALUES)), "is_empty": self.random() < 0.5}

    def operand(self, field: str) -> dict[str, Any]:
        form = self.choice(["value", "any", "except"])
        if form == "value":
            return {"value": self.choice(VALUES[field])}
        return {form: [self.choice(VALUES[field]) for _ in range(self.randint(0, 3))]}

    def bounds(self, field: str) -> dict[str, Any]:
        names = self.sample(["gt", "gte", "lt", "lte"], self.randint(1, 3))
        limits = VALUES[field] + ([-1.5, 0.5, 2.5] if field == "whole-number" else [])
        return {name: self.choice(limits) for name in names}


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PassageShard]:
    shard = PassageShard.create(Path(tmp_path_factory.mktemp("filters")) / "shard", FAKE_DIM)
    shard.adopt_fields(FIELDS)
    yield shard
    shard.close()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_engine_selects_the_passages_for_which_the_filter_holds(shard, seed):
    draw = Draw(seed)
    stored = [draw.passage(passage_id) for passage_id in IDS]
    shard.upsert(embed(stored))
    for _ in range(8):
        languages = draw.choice([None, None, frozenset({"de", "und"}), frozenset()])
        raw = draw.filter()
        where = PassageFilter(languages, parse_filter(raw, FIELDS))
        eligible = [passage for passage in stored if matches(where, passage, FIELDS)]
        expected = sorted((passage.id for passage in eligible), key=point_id)
        assert [passage.id for passage in shard.scan(where, 100, None)] == expected, raw
        assert shard.count(where) == len(expected)
        assert shard.languages(where) == Counter(passage.language for passage in eligible)


def test_the_filters_drawn_here_select_some_but_not_all():
    """Otherwise the comparison above would compare nothing."""
    draw = Draw(1)
    stored = [draw.passage(passage_id) for passage_id in IDS]
    selected = [
        sum(
            matches(PassageFilter(condition=parse_filter(draw.filter(), FIELDS)), p, FIELDS)
            for p in stored
        )
        for _ in range(300)
    ]
    assert sum(0 < count < len(IDS) for count in selected) > 100


def test_every_float_of_fifteen_digits_is_found_by_itself(shard):
    stored = [
        Passage(f"f{n}", "text", metadata={"number": math.sin(n) * 10.0 ** (n % 40 - 8)})
        for n in range(200)
    ]
    shard.upsert(embed(stored))
    for passage in stored:
        number = passage.metadata["number"]
        raw: Any = {"must": [{"key": "number", "range": {"gte": number, "lte": number}}]}
        found = shard.scan(PassageFilter(condition=parse_filter(raw, FIELDS)), 10, None)
        assert passage.id in [found.id for found in found]
    shard.delete([passage.id for passage in stored])
