import gzip
from pathlib import Path

import pytest

from tests.training.readers.folders import write
from training.errors import DataError
from training.readers.files import (
    Place,
    read_columns,
    read_json_document,
    read_json_lines,
    read_lines,
)

pytestmark = pytest.mark.training


def test_lines_come_without_their_ends_and_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes("\ufeffone\r\ntwo\n\nfour".encode())
    assert list(read_lines(path)) == [(1, "one"), (2, "two"), (3, ""), (4, "four")]


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_bytes(b"fine\n" + "caf\u00e9".encode("latin-1") + b"\n")
    with pytest.raises(
        DataError, match=r"x\.tsv, line 2: is not UTF-8 \(byte 0xe9 at position 3\)"
    ):
        list(read_lines(path))


@pytest.mark.parametrize("keep", [slice(0, -9), slice(0, 200)])
def test_a_gzip_file_that_was_cut_off_is_named_with_the_last_line_that_was_read(tmp_path, keep):
    path = tmp_path / "x.jsonl.gz"
    whole = gzip.compress("".join(f'{{"id": {n}}}\n' for n in range(9999)).encode())
    path.write_bytes(whole[keep])
    with pytest.raises(DataError, match=r"x\.jsonl\.gz: cannot be read after line \d+: Compressed"):
        list(read_lines(path))


def test_a_gzip_file_that_was_damaged_is_an_error(tmp_path):
    whole = bytearray(gzip.compress(b"some text that is long enough to be packed\n" * 99))
    whole[30] ^= 0xFF
    path = tmp_path / "x.gz"
    path.write_bytes(bytes(whole))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_lines(path))


def test_a_file_named_gz_that_is_none_is_an_error(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    path.write_text("{}\n")
    with pytest.raises(DataError, match="cannot be read: Not a gzipped file"):
        list(read_json_lines(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.jsonl: cannot be read: No such file"):
        list(read_json_lines(tmp_path / "absent.jsonl"))


@pytest.mark.parametrize(
    ("text", "line"), [('{"id": 1}\n{"id": \n', 2), ('{"id": 1}\n\n{"id": "a', 3)]
)
def test_a_line_that_is_not_json_is_named(tmp_path, text, line):
    path = write(tmp_path / "x.jsonl", text)
    with pytest.raises(DataError, match=f"line {line}: is not JSON") as caught:
        list(read_json_lines(path))
    assert caught.value.line == line


def test_a_json_document_that_breaks_off_is_named_by_its_line(tmp_path):
    path = write(tmp_path / "x.json", '{"data": [\n  {"title": "T",\n')
    with pytest.raises(DataError, match=r"x\.json, line 2: is not JSON"):
        read_json_document(path)


def test_a_json_document_must_be_an_object(tmp_path):
    with pytest.raises(DataError, match="is a JSON list, not an object"):
        read_json_document(write(tmp_path / "x.json", "[]"))


@pytest.mark.parametrize(
    ("line", "found"), [("a\tb", 2), ("a\tb\tc\td", 4), ("a b c", 1), ("a\tb\tc\t", 4)]
)
def test_a_line_with_another_number_of_columns_is_named(tmp_path, line, found):
    path = write(tmp_path / "x.tsv", f"query\tpassage\tgrade\na\tb\t1\n{line}\n")
    names = ("query", "passage", "grade")
    problem = f"line 3: expected 3 columns by tabs: query, passage, grade; found {found}"
    with pytest.raises(DataError, match=problem):
        list(read_columns(path, names, header=True))


def test_columns_by_white_space_take_blanks_and_tabs(tmp_path):
    path = write(tmp_path / "x.txt", "a 0  b\t1\n\n")
    fields = list(read_columns(path, ("q", "0", "p", "g"), separator=None))
    assert fields == [(Place(path, 1), ["a", "0", "b", "1"])]


def test_a_place_in_a_document_is_named_by_what_leads_there():
    error = Place(Path("x.json"), inside="data[0].paragraphs[2]").error("is odd")
    assert str(error) == "x.json: data[0].paragraphs[2]: is odd"
