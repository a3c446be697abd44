from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.core.errors import MalformedFilterError
from app.core.passages.fields import (
    MAX_INTEGER,
    check_fields,
    field_values,
    kind_of,
    kind_problem,
    read_value,
)
from app.core.types import FieldKind, Passage

FIELDS: dict[str, FieldKind] = {"product": "keyword", "year": "integer", "price": "float"}


class TestDeclaring:
    def test_declared_fields_are_returned_as_they_came(self):
        assert check_fields(FIELDS) == FIELDS
        assert check_fields({}) == {}

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"2nd": "keyword"}, "begin with a letter"),
            ({"": "keyword"}, "1 to 64"),
            ({"a.b": "keyword"}, "letters"),
            ({"a" * 65: "keyword"}, "1 to 64"),
            ({"language": "keyword"}, "always a field"),
            ({"product": "text"}, "keyword, integer, float, bool, datetime"),
        ],
    )
    def test_a_field_that_cannot_be_declared_is_refused_with_the_reason(self, fields, reason):
        with pytest.raises(ValueError, match=reason):
            check_fields(fields)

    def test_a_field_that_is_not_declared_is_an_error_that_names_those_that_are(self):
        assert kind_of("year", FIELDS, pointer="/x") == "integer"
        assert kind_of("language", FIELDS, pointer="/x") == "keyword"
        with pytest.raises(MalformedFilterError, match=r"document_id, language, .*price, product"):
            kind_of("colour", FIELDS, pointer="/x")


class TestValues:
    @pytest.mark.parametrize(
        ("kind", "raw", "value"),
        [
            ("keyword", "x", "x"),
            ("keyword", "", ""),
            ("keyword", 1, None),
            ("integer", 3, 3),
            ("integer", 3.0, None),
            ("integer", True, None),
            ("integer", MAX_INTEGER, MAX_INTEGER),
            ("integer", -MAX_INTEGER - 1, None),
            ("float", 2, 2.0),
            ("float", 0.1 + 0.2, 0.3),
            ("float", False, None),
            ("float", 10**400, None),
            ("float", "1", None),
            ("bool", False, False),
            ("bool", 0, None),
            ("datetime", "2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
            ("datetime", "2024-02-29T12:00:00+02:00", datetime(2024, 2, 29, 10, tzinfo=UTC)),
            ("datetime", "2024-02-29T12:00:00.5Z", datetime(2024, 2, 29, 12, 0, 0, 500_000, UTC)),
            ("datetime", "yesterday", None),
            ("datetime", 2024, None),
            ("datetime", "0001-01-01T00:00:00+14:00", None),
            ("keyword", None, None),
        ],
    )
    def test_a_json_value_is_read_as_its_kind_or_not_at_all(self, kind, raw, value):
        read = read_value(raw, kind)
        assert read == value
        assert type(read) is type(value)

    def test_minus_zero_is_zero(self):
        assert str(read_value(-0.0, "float")) == "0.0"

    def test_times_are_kept_in_utc(self):
        read = read_value("2024-01-01T00:00:00-05:00", "datetime")
        assert isinstance(read, datetime)
        assert read.tzinfo == UTC
        assert read == datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-5)))

    def test_every_item_of_a_list_is_a_value_and_those_of_another_kind_are_not(self):
        passage = Passage("a", "text", metadata={"year": [2020, "2021", None, 2022, [2023]]})
        assert field_values(passage, "year", "integer") == [2020, 2022]
        assert field_values(passage, "missing", "integer") == []

    def test_built_in_fields_are_read_from_the_passage_and_not_from_its_metadata(self):
        passage = Passage("a", "text", "de", None, {"language": "fr"}, document_id="book")
        assert field_values(passage, "language", "keyword") == ["de"]
        assert field_values(passage, "parallel_id", "keyword") == []
        assert field_values(passage, "document_id", "keyword") == ["book"]


class TestProblems:
    def test_a_value_of_another_kind_is_named_with_its_field(self):
        problem = kind_problem(Passage("a", "text", metadata={"year": [2020, "soon"]}), FIELDS)
        assert problem is not None
        name, what = problem
        assert name == "year"
        assert "'soon'" in what
        assert "integer" in what

    @pytest.mark.parametrize(
        "metadata", [{}, {"year": None}, {"year": []}, {"year": 1, "other": object()}]
    )
    def test_what_is_missing_null_or_not_declared_is_no_problem(self, metadata):
        assert kind_problem(Passage("a", "text", metadata=metadata), FIELDS) is None
