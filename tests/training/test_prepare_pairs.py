from typing import Any

import numpy as np
import pytest

from tests.training.conftest import passage, write_lines
from tests.training.preparing import held_out, run
from training.data_prepared import (
    HELD_OUT_PARALLEL,
    NO_TEXT,
)

pytestmark = pytest.mark.training

NEGATIVES_TOML = """
name = "x"
languages = ["en"]
[data]
passage_chars = 60
held_out_share = 0.0
[[data.pairs]]
path = "pairs.jsonl"
licence = "CC0"
[[data.pairs]]
path = "dev.jsonl"
licence = "CC0"
role = "held_out"
[model]
kind = "transformer"
base = "x"
"""


def with_negatives(directory: Any) -> Any:
    """Three rows: with two negatives, with none, and with some that training must not see."""
    rows: list[dict[str, Any]] = [
        {"id": "a", "negatives": ["Near  miss.", f"{passage('en', 3)} end"]},
        {"id": "b"},
        {"id": "c", "negatives": ["The dev passage.", "Passage c.", "Passage b.", "Near miss."]},
    ]
    asked = [
        {"lang": "en", "question": f"q {r['id']}", "passage": f"Passage {r['id']}."} for r in rows
    ]
    write_lines(directory / "pairs.jsonl", [a | r for a, r in zip(asked, rows, strict=True)])
    dev = {"id": "d", "lang": "en", "question": "q d", "passage": "The dev  passage."}
    write_lines(directory / "dev.jsonl", [dev])
    return run(NEGATIVES_TOML, directory, directory / "out")


def test_negatives_are_stored_as_numbers_of_texts(tmp_path):
    prepared = with_negatives(tmp_path)
    pairs, texts = prepared.pairs(), prepared.texts()
    assert pairs.negatives.dtype == np.int32
    assert pairs.negatives.shape == (3, 2)
    assert texts[pairs.negatives[0, 0]] == "Near miss."
    assert pairs.negatives[1].tolist() == [NO_TEXT, NO_TEXT]


def test_a_negative_is_cut_like_a_passage(tmp_path):
    prepared = with_negatives(tmp_path)
    cut = prepared.texts()[prepared.pairs().negatives[0, 1]]
    assert 0 < len(cut) <= 60
    assert passage("en", 3).startswith(cut)


def test_held_out_passages_and_right_answers_are_no_negatives(tmp_path):
    prepared = with_negatives(tmp_path)
    texts = prepared.texts()
    assert {texts[k] for k in prepared.pairs().negatives[2]} == {"Passage b.", "Near miss."}
    assert "The dev passage." not in texts
    rows = prepared.manifest["sources"][0]["rows"]
    assert (rows["negatives"], rows["negatives_refused"]) == (4, 2)


def test_without_negatives_the_table_has_no_column_for_them(prepared):
    assert prepared.pairs().negatives.shape == (len(prepared.pairs()), 0)


DUPLICATES_TOML = """
name = "x"
languages = ["en", "de"]
[data]
held_out_share = 0.0
[[data.pairs]]
path = "a.jsonl"
licence = "CC0"
[[data.pairs]]
path = "b.jsonl"
licence = "CC0"
[[data.parallel]]
path = "c.jsonl"
licence = "CC0"
[[data.parallel]]
path = "d.jsonl"
licence = "CC0"
role = "held_out"
[model]
kind = "transformer"
base = "x"
"""


def test_repetitions_are_dropped_and_counted_by_source(tmp_path):
    row = {"id": "1", "lang": "en", "question": "Who?", "passage": "It was Ada."}
    same = {**row, "id": "2", "question": "WHO?", "passage": "It  was Ada."}
    others = [
        {**row, "id": "3", "lang": "de"},
        {**row, "id": "4", "question": "Whose?"},
        {**row, "id": "5", "passage": "It was Bob."},
    ]
    write_lines(tmp_path / "a.jsonl", [row, same])
    write_lines(tmp_path / "b.jsonl", [{**same, "id": "6"}, *others])
    text = {"id": "1", "en": "Good day", "de": "Guten Tag"}
    write_lines(tmp_path / "c.jsonl", [text, {**text, "id": "2"}, {**text, "id": "3", "en": "Day"}])
    write_lines(tmp_path / "d.jsonl", [{"id": "9", "en": "Day.", "de": "Tag"}])
    prepared = run(DUPLICATES_TOML, tmp_path, tmp_path / "out")
    rows = {s["name"]: s["rows"] for s in prepared.manifest["sources"]}
    assert [rows[name].get("duplicates", 0) for name in "abcd"] == [1, 1, 1, 0]
    assert len(prepared.pairs()) == 4
    assert len(prepared.parallel()) == 2


def test_a_parallel_row_that_is_held_out_in_one_source_is_trained_on_in_none(tmp_path):
    write_lines(tmp_path / "a.jsonl", [])
    write_lines(tmp_path / "b.jsonl", [])
    text = {"id": "1", "en": "Good day", "de": "Guten Tag"}
    write_lines(tmp_path / "c.jsonl", [text, {"id": "2", "en": "Bye", "de": "Tschüss"}])
    write_lines(tmp_path / "d.jsonl", [{**text, "id": "9", "en": "Good  DAY"}])
    prepared = run(DUPLICATES_TOML, tmp_path, tmp_path / "out")
    assert prepared.texts() == ["Bye", "Tschüss"]
    assert [row["id"] for row in held_out(prepared, HELD_OUT_PARALLEL)] == ["9"]
