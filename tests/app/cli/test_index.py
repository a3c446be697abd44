from __future__ import annotations

import gzip
import json
import signal

import pytest

from app.adapters.edge.directory import CollectionDirectory
from app.cli.ingest import indexing
from app.cli.ingest.passages_file import read_passages
from app.core.types import CollectionSpec
from tests.app.cli.conftest import GEZEITEN, TIDES, WHEEL
from tests.bundles import tiny_spec


def ids(isoglot, query: str = "the tides of the sea") -> set[str]:
    result = isoglot("search", query, "--json", "--limit", "100")
    assert result.exit_code == 0
    return {hit["id"] for hit in json.loads(result.stdout)["hits"]}


def test_good_lines_are_stored(isoglot, lines):
    result = isoglot("index", lines(TIDES, "", GEZEITEN, WHEEL))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "3 passages stored" in result.stderr
    assert ids(isoglot) == {"tides.en", "tides.de", "wheel.en"}


def test_bad_lines_are_reported_by_number_and_reason_and_the_others_stored(isoglot, lines):
    unknown = {"id": "rocket", "text": "\U0001f680"}
    wrong = {"id": "tag", "text": "sea", "language": "not a tag"}
    path = lines(TIDES, "{broken", {"id": 7, "text": "sea"}, unknown, wrong, WHEEL)
    result = isoglot("index", path)
    assert result.exit_code == 1
    for number, reason in (
        (2, "line 1 column 2"),
        (3, "id: Input should be a valid string"),
        (4, "no token that the encoder knows"),
        (5, "'not a tag' is not a language tag"),
    ):
        assert any(
            line.startswith(f"{path}:{number}: ") and reason in line
            for line in result.stderr.splitlines()
        ), (number, result.stderr)
    assert "4 lines were rejected" in result.stderr
    assert "2 passages stored" in result.stderr
    assert ids(isoglot) == {"tides.en", "wheel.en"}


def test_gzip_and_stdin_are_read(isoglot, tmp_path):
    packed = tmp_path / "passages.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps(TIDES).encode()))
    assert isoglot("index", packed, "-", stdin=json.dumps(WHEEL)).exit_code == 0
    assert ids(isoglot) == {"tides.en", "wheel.en"}


def test_indexing_again_replaces_and_does_not_double(isoglot, lines):
    path = lines(TIDES, WHEEL)
    assert isoglot("index", path).exit_code == 0
    assert isoglot("index", path).exit_code == 0
    assert ids(isoglot) == {"tides.en", "wheel.en"}


def test_a_cut_off_gzip_file_is_an_error_that_names_it(isoglot, tmp_path):
    packed = tmp_path / "cut.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps(TIDES).encode())[:-12])
    result = isoglot("index", packed)
    assert result.exit_code == 3
    assert "cut.jsonl.gz cannot be read" in result.stderr


def test_a_missing_file_is_found_before_anything_is_stored(isoglot, lines, tmp_path):
    result = isoglot("index", lines(TIDES), tmp_path / "missing.jsonl")
    assert result.exit_code == 2
    assert "missing.jsonl is not a file" in result.stderr
    assert ids(isoglot) == set()


def test_a_locked_directory_suggests_the_running_service(isoglot, lines, tmp_path):
    spec = tiny_spec()
    claimed = CollectionDirectory.claim(
        tmp_path / "data" / "passages", CollectionSpec("passages", spec.fingerprint(), spec.dim)
    )
    try:
        result = isoglot("index", lines(TIDES))
    finally:
        claimed.release()
    assert result.exit_code == 3
    assert "--url http://" in result.stderr


def test_ctrl_c_keeps_what_was_stored_and_says_how_to_go_on(isoglot, lines, monkeypatch):
    monkeypatch.setattr(indexing, "BATCH_LINES", 2)

    def interrupted(name: str):
        for count, entry in enumerate(read_passages(name)):
            if count == 3:
                signal.raise_signal(signal.SIGINT)
            yield entry

    monkeypatch.setattr(indexing, "read_passages", interrupted)
    more = {"id": "more", "text": "the moon"}
    result = isoglot("index", lines(TIDES, GEZEITEN, WHEEL, more))
    assert result.exit_code == 130
    assert "2 passages are stored" in result.stderr
    assert "same command again" in result.stderr
    assert ids(isoglot) == {"tides.en", "tides.de"}


@pytest.mark.parametrize("ready", [True, False])
def test_the_interrupt_handler_is_put_back_after_every_read(ready):
    before = signal.getsignal(signal.SIGINT)
    assert list(indexing._interruptibly(iter(["chunk"] if ready else []))) == ["chunk"] * ready
    assert signal.getsignal(signal.SIGINT) is before


def test_long_texts_are_split_where_their_line_asks_for_it(isoglot, lines):
    book = {"id": "book", "text": "the tides of the sea. " * 20, "split": {"max_characters": 100}}
    result = isoglot("index", lines(book, {**book, "id": "bad", "split": {}}))
    assert result.exit_code == 1
    assert "exactly one of max_characters and max_tokens" in result.stderr
    assert "1 passages stored" in result.stderr
    assert {"book#1", "book#2"} <= ids(isoglot)
