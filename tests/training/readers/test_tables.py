from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from tests.training.readers.folders import write
from training.config import PairSource, ParallelSource
from training.data import read_pairs, read_parallel
from training.errors import DataError
from training.readers import tables
from training.readers.tables import renamed

pytestmark = pytest.mark.training

ROWS = [
    {"id": 1, "lang": "en", "question": "Who?", "passage": "It was Ada.", "answer_start": 7},
    {"id": 2, "lang": "de", "question": "Wer?", "passage": "Ada.", "answer_start": 0},
]
SQUAD_ROWS = [
    {"key": "a", "q": "Who?", "ctx": "It was Ada.", "answers": {"text": ["Ada"], "start": [7]}},
    {"key": "b", "q": "Why?", "ctx": "Nobody knows.", "answers": {"text": [], "start": []}},
]
COLUMNS = {"id": "key", "question": "q", "passage": "ctx", "answer_start": "answers.start.0"}


def pairs(path: Any, form: Any, **settings: Any) -> Any:
    source = PairSource(path=str(path), licence="CC0", form=form, **settings)
    return [(r.id, r.language, r.passage, r.answer_start) for r in read_pairs(path, source, None)]


EXPECTED = [("1", "en", "It was Ada.", 7), ("2", "de", "Ada.", 0)]
EXPECTED_SQUAD = [("a", "en", "It was Ada.", 7), ("b", "en", "Nobody knows.", None)]


def test_parquet_files_are_read_in_order(tmp_path):
    for number, row in enumerate(ROWS):
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / f"part-{number}.parquet")
    assert pairs(tmp_path, "parquet") == EXPECTED
    assert pairs(tmp_path / "part-1.parquet", "parquet") == EXPECTED[1:]


def test_columns_of_other_names_and_in_lists_are_found(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist(SQUAD_ROWS), path)
    assert pairs(path, "parquet", columns=COLUMNS, language="en") == EXPECTED_SQUAD


def test_a_broken_row_of_a_parquet_file_is_named_by_its_number(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist([*ROWS, {**ROWS[0], "id": 3, "passage": ""}]), path)
    with pytest.raises(DataError, match=r"x\.parquet: row 3: member 'passage' is empty"):
        pairs(path, "parquet")


@pytest.mark.parametrize("damage", ["text", "cut"])
def test_a_file_that_is_no_parquet_is_named(tmp_path, damage):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    path.write_bytes(b"text" if damage == "text" else path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"x\.parquet: cannot be read after row 0"):
        pairs(path, "parquet")


def test_a_directory_without_parquet_files_is_named(tmp_path):
    with pytest.raises(DataError, match=r"has no \*\.parquet file"):
        pairs(tmp_path, "parquet")


def test_tab_separated_pairs_have_the_names_of_the_first_line(tmp_path):
    head = "id\tlang\tquestion\tpassage\tanswer_start\n"
    text = head + "1\ten\tWho?\tIt was Ada.\t7\n\n2\tde\tWer?\tAda.\t0\n"
    assert pairs(write(tmp_path / "x.tsv", text), "tsv") == EXPECTED


def test_tab_separated_parallel_text_needs_no_ids_and_leaves_out_empty_cells(tmp_path):
    path = write(tmp_path / "x.tsv.gz", "en\tde\tind\nHello\tHallo\tHalo\nYes\t\tYa\n")
    source = ParallelSource(path="x", licence="CC0", form="tsv")
    rows = list(read_parallel(path, source, ("en", "de", "id")))
    assert [(row.id, dict(row.texts)) for row in rows] == [
        ("2", {"en": "Hello", "de": "Hallo", "id": "Halo"}),
        ("3", {"en": "Yes", "id": "Ya"}),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("en\tde\nHello\n", "line 2: expected 2 columns by tabs: en, de; found 1"),
        ("en\ten\nHello\tx\n", "line 1: the first line must name every column once"),
        ("en\t\nHello\tx\n", "line 1: the first line must name every column once"),
        ("", "is empty; the first line must name the columns"),
    ],
)
def test_a_broken_table_is_named_by_its_line(tmp_path, text, problem):
    path = write(tmp_path / "x.tsv", text)
    with pytest.raises(DataError, match=problem):
        list(read_parallel(path, ParallelSource(path="x", licence="CC0", form="tsv"), ("en", "de")))


def test_a_dataset_that_was_saved_to_disk_is_read(tmp_path):
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "one")
    assert pairs(tmp_path / "one", "huggingface") == EXPECTED
    splits = DatasetDict(train=Dataset.from_list(ROWS[:1]), test=Dataset.from_list(ROWS[1:]))
    splits.save_to_disk(tmp_path / "two")
    assert pairs(tmp_path / "two", "huggingface") == EXPECTED[:1]
    assert pairs(tmp_path / "two", "huggingface", split="test") == EXPECTED[1:]
    with pytest.raises(DataError, match="the dataset cannot be loaded"):
        pairs(tmp_path / "two", "huggingface", split="dev")


def test_a_dataset_id_is_loaded_with_subset_split_and_revision(tmp_path, monkeypatch):
    asked = []

    def load(dataset_id, **settings):
        asked.append((dataset_id, settings))
        return Dataset.from_list(ROWS)

    monkeypatch.setattr("datasets.load_dataset", load)
    source = PairSource(
        path="org/set", licence="CC0", form="huggingface", subset="en", split="dev", revision="v1"
    )
    assert len(list(read_pairs(tmp_path / "org/set", source, None))) == 2
    assert asked == [("org/set", {"name": "en", "split": "dev", "revision": "v1"})]


def test_without_a_network_a_dataset_id_says_what_else_can_be_given(tmp_path, monkeypatch):
    def fail(dataset_id, **_):
        raise ConnectionError(f"Couldn't reach {dataset_id!r} on the Hub")

    monkeypatch.setattr("datasets.load_dataset", fail)
    with pytest.raises(
        DataError, match=r"org/set: the dataset cannot be loaded: Couldn't reach"
    ) as e:
        list(tables.hub_rows(tmp_path / "x", "org/set", subset=None, split=None, revision=None))
    assert 'form = "parquet"' in str(e.value)


def test_steps_that_lead_nowhere_find_nothing():
    row: dict[str, object] = {"a": {"b": [1, 2]}, "c": "text"}
    found = renamed(row, {"x": "a.b.1", "y": "a.b.9", "z": "a.c", "w": "c.d", "v": "c"})
    assert {k: found[k] for k in "xyzwv"} == {"x": 2, "y": None, "z": None, "w": None, "v": "text"}
