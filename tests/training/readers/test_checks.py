from pathlib import Path

import pytest

from training.errors import DataError
from training.readers.checks import (
    IdRegister,
    check_grade,
    check_language,
    check_text,
    is_language,
    text_member,
)
from training.readers.files import Place

pytestmark = pytest.mark.training

PLACE = Place(Path("x.jsonl"), 4)


@pytest.mark.parametrize("code", ["de", "zh-Hant", "pt-BR", "ind", "sr-Latn-RS"])
def test_codes_of_registered_subtags_are_languages(code):
    assert is_language(code)
    assert check_language(PLACE, code) == code


@pytest.mark.parametrize("code", ["xx", "english", "und", "en_US", "", "de-", "d", "de DE", "jp"])
def test_other_codes_are_none(code):
    assert not is_language(code)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "member 'lang' is missing: the row has no language"),
        ("", "member 'lang' is missing"),
        (3, "member 'lang' is int, not text"),
        ("xx", "'xx' is an unknown language code; use BCP-47"),
    ],
)
def test_a_language_that_is_none_is_refused_with_its_place(value, problem):
    with pytest.raises(DataError, match=f"x.jsonl, line 4: {problem}"):
        check_language(PLACE, value)


@pytest.mark.parametrize(
    ("value", "problem"), [(None, "is missing"), (3, "is int"), ("", "is empty"), (" \n", "empty")]
)
def test_a_text_that_is_none_is_refused_with_its_place(value, problem):
    with pytest.raises(DataError, match=f"line 4: the passage .*{problem}"):
        check_text(PLACE, value, "the passage")


def test_an_id_may_be_a_number_and_have_several_names():
    assert text_member(PLACE, {"_id": 7, "id": None}, "id", "_id") == "7"
    with pytest.raises(DataError, match="member 'id' is bool"):
        text_member(PLACE, {"id": True}, "id")
    with pytest.raises(DataError, match="member 'id' or '_id' is missing"):
        text_member(PLACE, {}, "id", "_id")


@pytest.mark.parametrize(("text", "grade"), [("1", 1), ("-1", -1), ("+2", 2), ("03", 3)])
def test_a_grade_is_a_whole_number(text, grade):
    assert check_grade(PLACE, text) == grade


@pytest.mark.parametrize("text", ["1.0", "high", "", "1_0", "१", " 1"])
def test_other_grades_are_refused(text):
    with pytest.raises(DataError, match=r"line 4: grade .* is not a whole number"):
        check_grade(PLACE, text)


def test_an_id_may_come_again_with_the_same_text_only():
    ids = IdRegister("passage")
    assert ids.add(Place(Path("x"), 2), "p", "text")
    assert not ids.add(PLACE, "p", "text")
    assert "p" in ids
    assert "q" not in ids
    assert len(ids) == 1
    problem = r"line 4: passage 'p' occurs twice with different texts \(first on line 2\)"
    with pytest.raises(DataError, match=problem):
        ids.add(PLACE, "p", "other")
