from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.core.errors import MalformedFilterError
from app.core.passages.filters import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_VALUES,
    combine,
    matches,
    parse_filter,
)
from app.core.types import (
    ANY_PASSAGE,
    FieldKind,
    FieldRange,
    Filter,
    IsEmpty,
    MatchAny,
    MatchExcept,
    Passage,
    PassageFilter,
)

FIELDS: dict[str, FieldKind] = {
    "product": "keyword",
    "year": "integer",
    "price": "float",
    "open": "bool",
    "seen": "datetime",
}

PASSAGE = Passage(
    "a",
    "text",
    "de",
    metadata={
        "product": ["pro", "team"],
        "year": 2020,
        "price": 9.5,
        "open": True,
        "seen": "2024-05-01T10:00:00Z",
    },
)


def holds(*conditions: Any, passage: Passage = PASSAGE) -> bool:
    condition = parse_filter({"must": list(conditions)}, FIELDS)
    return matches(PassageFilter(condition=condition), passage, FIELDS)


def nested(depth: int) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    for _ in range(depth - 1):
        raw = {"must": [raw]} if raw else {"must": []}
    return raw


class TestParsing:
    def test_every_form_of_the_grammar_is_read(self):
        raw: Any = {
            "must": [
                {"key": "product", "match": {"value": "pro"}},
                {"key": "year", "match": {"any": [2020, 2021]}},
                {"should": [{"is_empty": {"key": "price"}}]},
            ],
            "should": {"key": "price", "range": {"gte": 1, "lt": 2.5, "gt": None}},
            "must_not": [
                {"key": "product", "match": {"except": ["pro"]}},
                {"key": "open", "is_empty": False},
                {"key": "open", "is_empty": True},
            ],
        }
        assert parse_filter(raw, FIELDS) == Filter(
            must=(
                MatchAny("product", frozenset({"pro"})),
                MatchAny("year", frozenset({2020, 2021})),
                Filter(should=(IsEmpty("price"),)),
            ),
            should=(FieldRange("price", gte=1.0, lt=2.5),),
            must_not=(
                MatchExcept("product", frozenset({"pro"})),
                Filter(must_not=(IsEmpty("open"),)),
                IsEmpty("open"),
            ),
        )

    def test_dates_become_moments_in_utc(self):
        raw: Any = {"must": [{"key": "seen", "range": {"gt": "2024-01-01", "lte": "2025-01-01"}}]}
        [condition] = parse_filter(raw, FIELDS).must
        assert condition == FieldRange(
            "seen", gt=datetime(2024, 1, 1, tzinfo=UTC), lte=datetime(2025, 1, 1, tzinfo=UTC)
        )

    def test_bounds_of_an_integer_field_become_integers_that_mean_the_same(self):
        raw: Any = {
            "must": [{"key": "year", "range": {"gt": 1.5, "gte": 1.5, "lt": 1.5, "lte": 1.5}}]
        }
        [condition] = parse_filter(raw, FIELDS).must
        assert condition == FieldRange("year", gt=1, gte=2, lt=2, lte=1)

    @pytest.mark.parametrize("raw", [{}, {"must": []}, {"must": None, "should": []}])
    def test_an_empty_filter_holds_for_every_passage(self, raw):
        condition = parse_filter(raw, FIELDS)
        assert matches(PassageFilter(condition=condition), PASSAGE, FIELDS)

    @pytest.mark.parametrize(
        ("raw", "pointer", "reason"),
        [
            ([], "", "Expected an object"),
            ("pro", "", "Expected an object"),
            ({"and": []}, "/and", "must, should, must_not"),
            ({"a/b": []}, "/a~1b", "not known"),
            ({"must": ["pro"]}, "/must/0", "Expected an object"),
            ({"must": [{}]}, "/must/0", "names no field"),
            ({"must": [{"key": 1, "is_empty": True}]}, "/must/0", "names no field"),
            ({"must": [{"key": "year"}]}, "/must/0", "one of match, range and is_empty"),
            (
                {"must": [{"key": "year", "match": {"value": 1}, "range": {"gt": 1}}]},
                "/must/0",
                "one of match",
            ),
            ({"must": [{"key": "year", "is_empty": 1}]}, "/must/0", "one of match"),
            (
                {"should": {"key": "colour", "is_empty": True}},
                "/should/key",
                "Declared are .*product",
            ),
            ({"must_not": [{"is_empty": {"key": "x"}}]}, "/must_not/0/is_empty/key", "Declared"),
            ({"must_not": [{"is_empty": "x"}]}, "/must_not/0/is_empty", "Expected an object"),
            ({"must": [{"key": "year", "match": {}}]}, "/must/0/match", "exactly one"),
            (
                {"must": [{"key": "year", "match": {"value": "2020"}}]},
                "/must/0/match/value",
                "an integer",
            ),
            (
                {"must": [{"key": "open", "match": {"any": [True, "no"]}}]},
                "/must/0/match/any/1",
                "true or false",
            ),
            ({"must": [{"key": "year", "match": {"any": 1}}]}, "/must/0/match/any", "a list"),
            (
                {"must": [{"key": "year", "match": {"any": [1] * (MAX_VALUES + 1)}}]},
                "/must/0/match/any",
                "at most",
            ),
            ({"must": [{"key": "price", "match": {"value": 1}}]}, "/must/0/match", "use range"),
            ({"must": [{"key": "product", "range": {"gt": 1}}]}, "/must/0/range", "use match"),
            ({"must": [{"key": "year", "range": {}}]}, "/must/0/range", "at least one"),
            ({"must": [{"key": "year", "range": {"gt": "x"}}]}, "/must/0/range/gt", "an integer"),
            ({"must": [{"key": "year", "range": {"gt": 1e300}}]}, "/must/0/range/gt", "53 bits"),
            ({"must": [{"key": "seen", "range": {"lt": "soon"}}]}, "/must/0/range/lt", "ISO 8601"),
            ({"must": [{"key": "year", "range": {"from": 1}}]}, "/must/0/range/from", "gt, gte"),
        ],
    )
    def test_a_malformed_filter_is_refused_at_the_place_with_the_reason(self, raw, pointer, reason):
        with pytest.raises(MalformedFilterError, match=reason) as caught:
            parse_filter(raw, FIELDS)
        assert caught.value.pointer == f"/filter{pointer}"

    def test_a_filter_is_bounded_in_depth_and_in_conditions(self):
        assert parse_filter(nested(MAX_DEPTH), FIELDS).must
        with pytest.raises(MalformedFilterError, match="nested deeper"):
            parse_filter(nested(MAX_DEPTH + 2), FIELDS)
        many: Any = [{"key": "year", "match": {"value": 1}}] * MAX_CONDITIONS
        assert len(parse_filter({"must": many}, FIELDS).must) == MAX_CONDITIONS
        with pytest.raises(MalformedFilterError, match="more than 256"):
            parse_filter({"must": many[:-1], "should": many[:2]}, FIELDS)


class TestMatching:
    def test_a_condition_holds_if_it_holds_for_one_value(self):
        assert holds({"key": "product", "match": {"value": "team"}})
        assert not holds({"key": "product", "match": {"value": "free"}})
        assert holds({"key": "product", "match": {"except": ["team"]}})
        assert not holds({"key": "product", "match": {"except": ["team", "pro"]}})

    def test_a_passage_without_the_field_is_neither_in_nor_outside_a_set(self):
        bare = Passage("b", "text")
        assert not holds({"key": "product", "match": {"any": ["pro"]}}, passage=bare)
        assert not holds({"key": "product", "match": {"except": ["pro"]}}, passage=bare)
        assert holds({"key": "product", "is_empty": True}, passage=bare)
        assert not holds({"key": "product", "is_empty": True})

    @pytest.mark.parametrize(
        ("bounds", "expected"),
        [
            ({"gt": 2020}, False),
            ({"gte": 2020}, True),
            ({"lt": 2020}, False),
            ({"lte": 2020}, True),
            ({"gt": 2019, "lt": 2021}, True),
            ({"gt": 2019.5}, True),
        ],
    )
    def test_bounds_are_included_where_they_say_so(self, bounds, expected):
        assert holds({"key": "year", "range": bounds}) is expected

    def test_dates_are_compared_as_moments(self):
        assert holds({"key": "seen", "range": {"gte": "2024-05-01T12:00:00+02:00"}})
        assert not holds({"key": "seen", "range": {"gt": "2024-05-01T10:00:00"}})

    def test_clauses_are_joined_as_their_names_say(self):
        yes: Any = {"key": "open", "match": {"value": True}}
        no: Any = {"key": "open", "match": {"value": False}}
        table = [
            ({"must": [yes, yes]}, True),
            ({"must": [yes, no]}, False),
            ({"should": [no, yes]}, True),
            ({"should": [no, no]}, False),
            ({"must_not": [no]}, True),
            ({"must_not": [no, yes]}, False),
            ({"must": [yes], "should": [no]}, False),
            ({"must": [yes], "should": [yes], "must_not": [{"must": [yes, no]}]}, True),
        ]
        for raw, expected in table:
            assert holds(raw) is expected, raw

    def test_languages_and_condition_both_have_to_hold(self):
        condition = parse_filter({"must": [{"key": "year", "match": {"value": 2020}}]}, FIELDS)
        for languages, expected in [(None, True), ({"de"}, True), ({"fr"}, False), (set(), False)]:
            where = PassageFilter(None if languages is None else frozenset(languages), condition)
            assert matches(where, PASSAGE, FIELDS) is expected
        assert matches(ANY_PASSAGE, PASSAGE, FIELDS)


class TestCombining:
    def test_the_combination_holds_where_both_hold(self):
        new = PassageFilter(
            condition=parse_filter({"must": [{"key": "year", "range": {"gt": 1}}]}, FIELDS)
        )
        team = PassageFilter(
            frozenset({"de", "en"}),
            parse_filter({"must": [{"key": "product", "match": {"value": "team"}}]}, FIELDS),
        )
        french = PassageFilter(frozenset({"fr", "en"}))
        assert new.condition is not None
        assert team.condition is not None
        assert combine(new, team) == PassageFilter(
            frozenset({"de", "en"}), Filter(must=(new.condition, team.condition))
        )
        assert combine(team, french) == PassageFilter(frozenset({"en"}), team.condition)

    def test_no_restriction_changes_nothing(self):
        where = PassageFilter(frozenset({"de"}), Filter(must=(IsEmpty("product"),)))
        assert combine(where, ANY_PASSAGE) == where
        assert combine(ANY_PASSAGE, where) == where
        assert combine(ANY_PASSAGE, ANY_PASSAGE) == ANY_PASSAGE
