import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.conftest import write_lines
from training.config import LexiconSource, PairSource, ParallelSource
from training.data import (
    collapse,
    is_held_out,
    read_json_lines,
    read_pairs,
    read_parallel,
    unit_hash,
)
from training.errors import DataError

pytestmark = pytest.mark.training

LANGUAGES = ("en", "de", "zh", "id")
PAIR = {"id": "a", "lang": "en", "question": "Who?", "passage": "It was Ada.", "answer_start": 7}


def pair_source(**settings: Any) -> Any:
    return PairSource(path="x", licence="CC0", **settings)


def parallel_source(**settings: Any) -> Any:
    return ParallelSource(path="x", licence="CC0", **settings)


def pairs_of(tmp_path: Path, rows: Any, **settings: Any) -> Any:
    path = tmp_path / "pairs.jsonl"
    write_lines(path, rows)
    return list(read_pairs(path, pair_source(**settings), LANGUAGES))


def parallel_of(tmp_path: Path, rows: Any, source: Any = None) -> Any:
    path = tmp_path / "parallel.jsonl"
    write_lines(path, rows)
    return list(read_parallel(path, source or parallel_source(), LANGUAGES))


def test_a_pair_is_read_with_its_offset(tmp_path):
    (row,) = pairs_of(tmp_path, [PAIR])
    assert (row.question, row.language, row.answer_start) == ("Who?", "en", 7)


def test_a_gzip_file_reads_the_same(tmp_path):
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress((json.dumps(PAIR) + "\n").encode()))
    assert [row.id for row in read_pairs(path, pair_source(), LANGUAGES)] == ["a"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"question": None}, "member 'question' is missing"),
        ({"question": 3}, "member 'question' is int, not text"),
        ({"question": " "}, "member 'question' is empty"),
        ({"passage": "\n"}, "member 'passage' is empty"),
        ({"lang": None}, "member 'lang' is missing: the row has no language"),
        ({"lang": "xx"}, "'xx' is an unknown language code"),
        ({"lang": "english"}, "'english' is an unknown language code"),
        ({"id": None}, "member 'id' is missing"),
        ({"question": "Whose?"}, "'a in en' occurs twice with different texts"),
        ({"answer_start": 11}, "answer_start is 11; the passage has 11 characters"),
        ({"answer_start": "7"}, "answer_start is '7'"),
        ({"negatives": "no list"}, "member 'negatives' must be a list of texts"),
        ({"negatives": ["It was Bob.", 3]}, "member 'negatives' must be a list of texts"),
        ({"negatives": ["It was Bob.", " "]}, "member 'negatives' has an empty text"),
    ],
)
def test_a_row_that_breaks_the_schema_is_named_by_file_and_line(tmp_path, change, problem):
    with pytest.raises(DataError, match=problem) as caught:
        pairs_of(tmp_path, [PAIR, {**PAIR, **change}])
    assert caught.value.line == 2
    assert "pairs.jsonl, line 2: " in str(caught.value)


@pytest.mark.parametrize(("line", "problem"), [("{", "is not JSON"), ("[1]", "is a JSON list")])
def test_a_line_that_is_no_object_is_named(tmp_path, line, problem):
    path = tmp_path / "x.jsonl"
    path.write_text("{}\n\n" + line + "\n")
    with pytest.raises(DataError, match=f"line 3: {problem}"):
        list(read_json_lines(path))


def test_a_file_cut_off_in_the_middle_is_an_error(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": 1}\n' * 9999)[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        list(read_json_lines(path))


def test_a_pair_can_carry_negatives(tmp_path):
    rows = pairs_of(tmp_path, [PAIR, {**PAIR, "negatives": ["It was Bob.", "It was not."]}])
    assert [row.negatives for row in rows] == [(), ("It was Bob.", "It was not.")]


def test_rows_of_other_languages_are_left_out(tmp_path):
    rows = [PAIR, {**PAIR, "lang": "fi"}, {**PAIR, "lang": "de"}]
    assert [row.language for row in pairs_of(tmp_path, rows)] == ["en", "de"]
    assert [row.language for row in pairs_of(tmp_path, rows, languages=("de",))] == ["de"]


def test_a_source_can_state_the_language_of_its_rows(tmp_path):
    (row,) = pairs_of(tmp_path, [{**PAIR, "lang": "zh-Hant"}], language="zh")
    assert row.language == "zh"


def test_a_row_that_the_drop_pattern_leaves_empty_is_counted_and_left_out(tmp_path):
    path = tmp_path / "pairs.jsonl"
    write_lines(path, [PAIR, {**PAIR, "id": "b", "passage": "[[x]]"}])
    counts: Counter[str] = Counter()
    rows = read_pairs(path, pair_source(drop_pattern=r"\[\[.*?\]\]"), LANGUAGES, counts)
    assert [row.id for row in rows] == ["a"]
    assert counts == {"emptied_by_drop_pattern": 1}


def test_one_question_can_have_several_passages(tmp_path):
    rows = pairs_of(tmp_path, [PAIR, {**PAIR, "passage": "The one was Ada."}])
    assert [row.id for row in rows] == ["a", "a"]


def test_a_generic_heading_is_read_with_its_title(tmp_path):
    rows = [{**PAIR, "question": "Summary", "title": "Soil", "generic_heading": True}]
    assert pairs_of(tmp_path, rows)[0].question == "Soil Summary"


@pytest.mark.parametrize(
    ("row", "settings", "document"),
    [
        ({"id": "course/a/b#3", "title": "T"}, {"document_pattern": "^course/(.+)#"}, "a/b"),
        ({"id": "x#3", "doc": "d", "title": "T"}, {}, "d"),
        ({"id": "x#3", "title": "T"}, {}, "x"),
        ({"id": "x", "title": "T"}, {}, "T"),
        ({"id": "x"}, {}, "It was Ada."),
    ],
)
def test_the_document_is_the_most_specific_thing_the_row_says(tmp_path, row, settings, document):
    assert pairs_of(tmp_path, [{**PAIR, **row}], **settings)[0].document == document


def test_parallel_rows_read_indonesian_under_its_own_key(tmp_path):
    (row,) = parallel_of(tmp_path, [{"id": "1", "en": "Hello  there", "ind": "Halo"}])
    assert row.texts == {"en": "Hello there", "id": "Halo"}


def test_a_parallel_row_needs_two_of_the_languages(tmp_path):
    assert parallel_of(tmp_path, [{"id": "1", "en": "Hello", "fi": "Hei"}]) == []


def test_a_parallel_text_that_is_no_text_is_named(tmp_path):
    with pytest.raises(DataError, match="line 1: the text in 'de' is list"):
        parallel_of(tmp_path, [{"id": "1", "en": "Hello", "de": ["Hallo"]}])


def test_what_the_drop_pattern_matches_is_cut_out(tmp_path):
    source = parallel_source(drop_pattern=r"\[\[.*?\]\]")
    (row,) = parallel_of(tmp_path, [{"id": "1", "en": "A[[x]] b", "de": "C"}], source)
    assert row.texts["en"] == "A b"


def test_texts_can_stand_in_named_members(tmp_path):
    row = {"id": "1", "one": {"en": "A", "de": "B"}, "two": {"en": "C", "de": "D"}}
    found = parallel_of(tmp_path, [row], parallel_source(fields=("one", "two")))
    assert [dict(r.texts) for r in found] == [{"en": "A", "de": "B"}, {"en": "C", "de": "D"}]


def test_a_named_member_that_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match="member 'one' must be an object"):
        parallel_of(tmp_path, [{"id": "1"}], parallel_source(fields=("one",)))


def test_a_wiktionary_entry_makes_one_row_per_translation(tmp_path):
    source = LexiconSource(path="x", licence="CC0", form="wiktionary", alternatives=2)
    row = {"id": "1", "en": "can", "tr": {"de": ["Dose", "Büchse", "Kanne"], "zh": ["罐"]}}
    found = parallel_of(tmp_path, [row], source)
    assert [dict(r.texts) for r in found] == [
        {"en": "can", "de": "Dose", "zh": "罐"},
        {"en": "can", "de": "Büchse"},
    ]


def test_a_wordnet_entry_is_read_without_its_morpheme_marks(tmp_path):
    source = LexiconSource(path="x", licence="CC0", form="omw", alternatives=2)
    row = {"id": "1", "lemmas": {"zh": ["可以+的"], "ind": ["bisa", "mampu"]}}
    found = parallel_of(tmp_path, [row], source)
    assert [dict(r.texts) for r in found] == [
        {"zh": "可以的", "id": "bisa"},
        {"zh": "可以的", "id": "mampu"},
    ]


@given(st.text())
def test_collapsing_leaves_single_spaces_and_nothing_to_collapse(text):
    once = collapse(text)
    assert collapse(once) == once
    assert once == once.strip()
    assert "  " not in once


@given(st.text())
def test_the_hash_of_a_key_is_a_fraction_and_always_the_same(key):
    assert 0.0 <= unit_hash(key) < 1.0
    assert unit_hash(key) == unit_hash(key)


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_only_adds_held_out_documents(document, one, other):
    small, large = sorted((one, other))
    assert is_held_out(document, large) or not is_held_out(document, small)


def test_about_the_asked_share_of_documents_is_held_out():
    held = sum(is_held_out(f"document {n}", 0.1) for n in range(5000))
    # Five standard deviations of a binomial: sqrt(5000 * .1 * .9) = 21.
    assert abs(held - 500) < 106
