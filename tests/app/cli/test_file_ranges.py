import gzip
import json

import pytest

from app.cli.exits import CannotStartError
from app.cli.ingest.file_ranges import FileRange, cut, read_range
from app.cli.ingest.passages_file import PassageLine, Rejection, read_passages


def line(number: int) -> str:
    return json.dumps(
        {"id": f"p{number}", "text": f"Zeile\u2028nummer {number}"}, ensure_ascii=False
    )


@pytest.fixture
def file(tmp_path):
    """Ten lines, among them a blank one and one that is no passage; no newline at the end."""
    lines = [line(number) for number in range(1, 11)]
    lines[3] = ""
    lines[6] = "{broken"
    path = tmp_path / "passages.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def seen(entries) -> list[tuple[int, str]]:
    return [
        (found.line, found.reason if isinstance(found, Rejection) else found.entry.id)
        for found in entries
    ]


@pytest.mark.parametrize("lines", [1, 3, 5, 10, 100])
def test_the_ranges_of_a_file_hold_what_the_file_holds(file, lines):
    ranges = cut([str(file)], lines=lines)

    assert len(ranges) == -(-10 // lines)
    assert sum(part.length for part in ranges) == file.stat().st_size
    found = [entry for part in ranges for entry in read_range(part)]
    assert seen(found) == seen(read_passages(str(file)))
    assert len([entry for entry in found if isinstance(entry, PassageLine)]) == 8


def test_a_gzip_file_is_one_range(file, tmp_path):
    packed = tmp_path / "passages.jsonl.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))

    [part] = cut([str(packed)], lines=1)

    assert seen(read_range(part)) == seen(read_passages(str(file)))


def test_an_empty_file_has_no_ranges(tmp_path):
    (tmp_path / "empty.jsonl").touch()

    assert cut([str(tmp_path / "empty.jsonl")]) == []


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (FileRange("/nowhere/passages.jsonl", 1, 0, 10), "cannot be read"),
        (FileRange(__file__, 1, 0, 10_000_000), "has become shorter"),
    ],
)
def test_a_range_that_is_not_there_is_an_error_that_names_the_file(part, reason):
    with pytest.raises(CannotStartError, match=f"{part.file} {reason}"):
        list(read_range(part))


def test_a_file_that_cannot_be_cut_is_an_error_that_names_it(tmp_path):
    with pytest.raises(CannotStartError, match="cannot be read"):
        cut([str(tmp_path)])
