from __future__ import annotations

import json

import pytest

from app.cli.demonstration.data import demo_directory, load_corpus
from app.cli.demonstration.demo import GIBBERISH_QUERIES
from app.cli.exits import CannotStartError
from tests.app.cli.conftest import GEZEITEN, TIDES, WHEEL

QUERIES = (
    {"id": "q1", "text": "the tides of the sea", "language": "en", "answerable": True},
    {"id": "q2", "text": "wie flicke ich ein loch", "language": "de", "answerable": False},
)
QRELS = "query_id\tpassage_id\tgrade\nq1\ttides.en\t1\nq1\ttides.de\t1\nq1\twheel.en\t0\n"


@pytest.fixture
def corpus(lines, tmp_path):
    lines(TIDES, GEZEITEN, WHEEL, name="passages.jsonl")
    lines(*QUERIES, name="queries.jsonl")
    (tmp_path / "qrels.tsv").write_text(QRELS)
    return tmp_path


def test_the_demo_corpus_is_indexed_once_into_a_collection_of_its_own(isoglot, corpus, lines):
    first = isoglot("demo", "--demo-dir", corpus, "--index-only")
    assert first.exit_code == 0
    assert "3 passages of the demo corpus were indexed" in first.stderr
    lines({**TIDES, "text": "the tides of the moon"}, GEZEITEN, WHEEL, name="passages.jsonl")
    second = isoglot("demo", "--demo-dir", corpus, "--index-only")
    assert "1 passages of the demo corpus were indexed" in second.stderr
    assert json.loads(isoglot("search", "sea", "--json").stdout)["hits"] == []


def test_the_evaluation_reports_ranking_and_probabilities(isoglot, corpus, tmp_path):
    result = isoglot("evaluate-demo", "--demo-dir", corpus, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["bundle"].startswith("tiny@")
    assert report["ranking"]["questions"] == 1
    assert report["ranking"]["hit_at_1"] == 1.0
    assert report["agreement"]["answerable"]["hits"] == 3
    assert report["agreement"]["answerable"]["observed"] == 2
    assert report["top_probability"]["gibberish"]["count"] == GIBBERISH_QUERIES
    assert not (tmp_path / "data").exists()


def test_the_evaluation_has_tables_for_people(isoglot, corpus):
    result = isoglot("evaluate-demo", "--demo-dir", corpus)
    assert result.exit_code == 0
    for heading in ("hit@1", "expected/observed", "mean stated", "probability of the first hit"):
        assert heading in result.stdout


def test_a_directory_without_demo_corpus_exits_with_3(isoglot, tmp_path):
    result = isoglot("demo", "--demo-dir", tmp_path / "nowhere", "--index-only")
    assert result.exit_code == 3
    assert "--demo-dir" in result.stderr


def test_the_corpus_of_the_repository_is_found_and_loads():
    corpus = load_corpus(demo_directory())
    passages = {passage.id for passage in corpus.passages}
    assert all(corpus.relevant[q.id] <= passages for q in corpus.queries if q.answerable)
    assert not any(q.id in corpus.relevant for q in corpus.queries if not q.answerable)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("passages.jsonl", '{"id": "a"}'),
        ("queries.jsonl", '{"id": "a"}'),
        ("queries.jsonl", "broken"),
        ("qrels.tsv", "query_id\tgrade\nq1\t1\n"),
    ],
)
def test_a_malformed_corpus_is_an_error_that_names_the_file(corpus, name, content):
    (corpus / name).write_text(content)
    with pytest.raises(CannotStartError, match=name):
        load_corpus(corpus)
