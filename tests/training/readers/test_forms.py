"""Every form of judged set: read for evaluation, and read for training."""

import shutil
from typing import Any

import pytest

from tests.training.readers import folders
from tests.training.readers.folders import GRADES, lines, tabs, write
from tests.training.sets import parallel_set, write_set
from training.config import PairSource
from training.data import read_pairs
from training.errors import DataError
from training.readers.judged import choose_split
from training.readers.recognise import FORMS, read_retrieval_set, recognise
from training.readers.records import read_run

pytestmark = pytest.mark.training


def judged(data: Any) -> Any:
    """Return {(query id, passage id): grade} of what is relevant."""
    return {
        (query.id, data.passages[row].id): int(grade)
        for query, rows, grades in zip(data.queries, data.relevant, data.grades, strict=True)
        for row, grade in zip(rows, grades, strict=True)
    }


RELEVANT = {("q1", "7#0"): 1, ("q2", "7#1"): 1}


def texts(data: Any) -> Any:
    return {passage.id: passage.text for passage in data.passages}


def test_an_own_set_is_read_with_clusters_and_documents(tmp_path):
    written = parallel_set()
    data = read_retrieval_set(write_set(tmp_path / "small", written))
    assert (data.name, data.queries, data.passages) == ("small", written.queries, written.passages)
    assert judged(data) == judged(written)


def test_a_beir_folder_is_read_with_its_titles(tmp_path):
    data = read_retrieval_set(folders.beir(tmp_path / "scifact"), language="en")
    assert data.name == "scifact"
    assert judged(data) == RELEVANT
    assert texts(data)["7#0"] == "Ada She wrote it."
    assert set(data.query_languages) | set(data.passage_languages) == {"en"}


def test_a_title_alone_is_a_text(tmp_path):
    folder = folders.beir(tmp_path)
    path = folder / "corpus.jsonl"
    write(path, path.read_text().replace("He read.", ""))
    assert texts(read_retrieval_set(folder, language="en"))["8#0"] == "Bob"


@pytest.mark.parametrize("extra", [{"lang": "de"}, {"metadata": {"language": "de"}}])
def test_the_language_of_a_beir_row_goes_before_the_one_that_is_given(tmp_path, extra):
    data = read_retrieval_set(folders.beir(tmp_path, **extra), language="en")
    assert set(data.query_languages) | set(data.passage_languages) == {"de"}


def test_the_test_split_is_read_unless_another_is_named(tmp_path):
    folder = folders.beir(tmp_path)
    assert judged(read_retrieval_set(folder, language="en")) == RELEVANT
    train = {("q1", "7#0"): 1}
    assert judged(read_retrieval_set(folder, split="train", language="en")) == train
    assert judged(read_retrieval_set(folder / "qrels/train.tsv", language="en")) == train
    with pytest.raises(DataError, match="has no split 'dev'; it has test, train"):
        read_retrieval_set(folder, split="dev", language="en")


@pytest.mark.parametrize(
    ("found", "chosen"),
    [(["train", "dev"], "dev"), (["dev", "test"], "test"), (["x"], "x"), ([""], "")],
)
def test_without_a_word_the_test_split_is_meant_then_the_development_split(tmp_path, found, chosen):
    assert choose_split(tmp_path, found, None) == chosen


def test_splits_that_say_nothing_are_not_guessed(tmp_path):
    with pytest.raises(DataError, match="has several splits, say which: a, b"):
        choose_split(tmp_path, ["b", "a"], None)


def test_miracl_is_read_with_its_articles_as_documents(tmp_path):
    data = read_retrieval_set(folders.miracl(tmp_path))
    assert judged(data) == RELEVANT
    assert {p.id: p.document for p in data.passages} == {"7#0": "7", "7#1": "7", "8#0": "8"}
    assert set(data.passage_languages) == {"ar"}


def test_several_languages_of_miracl_are_one_pool_of_prefixed_ids(tmp_path):
    folders.miracl(tmp_path, "ar")
    data = read_retrieval_set(folders.miracl(tmp_path, "sw"))
    expected = {(f"{c}/{q}", f"{c}/{p}"): g for c in ("ar", "sw") for (q, p), g in RELEVANT.items()}
    assert judged(data) == expected
    assert {p.id.partition("/")[0] for p in data.passages if p.language == "sw"} == {"sw"}
    assert judged(read_retrieval_set(tmp_path, language="sw")) == RELEVANT
    with pytest.raises(DataError, match="has no judgements in 'fi'; it has ar, sw"):
        read_retrieval_set(tmp_path, language="fi")


@pytest.mark.parametrize(
    ("missing", "problem"),
    [
        ("miracl-corpus-v1.0-ar", "has no passages in 'ar'; put miracl-corpus-v1.0-ar/docs"),
        ("miracl-v1.0-ar/topics", "but no topics.miracl-v1.0-ar-dev.tsv"),
    ],
)
def test_a_part_of_miracl_that_is_missing_is_named(tmp_path, missing, problem):
    folders.miracl(tmp_path)
    shutil.rmtree(tmp_path / missing)
    with pytest.raises(DataError, match=problem):
        read_retrieval_set(tmp_path)


def test_mr_tydi_has_its_language_in_its_name(tmp_path):
    data = read_retrieval_set(folders.mr_tydi(tmp_path))
    assert judged(data) == RELEVANT
    assert set(data.query_languages) == {"fi"}
    assert texts(data)["7#1"] == "Ada In 1843."


def test_trec_topics_with_tags_are_read(tmp_path):
    data = read_retrieval_set(folders.trec_folder(tmp_path), language="en")
    assert {query.id: query.text for query in data.queries} == folders.QUERIES
    assert judged(data) == RELEVANT


def test_a_trec_topic_without_a_number_is_named_by_its_line(tmp_path):
    folder = folders.trec_folder(tmp_path)
    write(folder / "topics.txt", folders.TOPICS.replace("<num> q2 </num>\n", ""))
    with pytest.raises(DataError, match=r"topics\.txt, line 9: the topic .* has no <num>"):
        read_retrieval_set(folder, language="en")


def test_mmarco_reads_one_language_and_its_small_split(tmp_path):
    data = read_retrieval_set(folders.mmarco(tmp_path), language="pt")
    assert judged(data) == RELEVANT
    assert texts(data)["7#1"] == "In 1843. portuguese"
    with pytest.raises(DataError, match=r"say which language is meant.* de, pt"):
        read_retrieval_set(tmp_path)


def test_a_directory_of_no_known_form_says_what_was_looked_for(tmp_path):
    write(tmp_path / "notes.txt", "nothing")
    with pytest.raises(DataError) as caught:
        recognise(tmp_path)
    assert all(looked_for in str(caught.value) for _, looked_for in FORMS.values())
    with pytest.raises(DataError, match="there is no such file or directory"):
        recognise(tmp_path / "absent")


def rows_of(path: Any, **settings: Any) -> Any:
    source = PairSource(path="x", licence="CC0", **settings)
    return list(read_pairs(path, source, None))


TRAINING = [
    ("beir", folders.beir, {"split": "test", "language": "en"}, "Ada She wrote it."),
    ("miracl", folders.miracl, {"split": "train"}, "Ada She wrote it."),
    ("mr-tydi", folders.mr_tydi, {"split": "train"}, "Ada She wrote it."),
    ("trec", folders.trec_folder, {"split": "", "language": "en"}, "She wrote it."),
]


@pytest.mark.parametrize(("form", "make", "settings", "passage"), TRAINING)
def test_a_judged_set_trains_on_relevant_passages_with_the_others_as_negatives(
    tmp_path, form, make, settings, passage
):
    rows = rows_of(make(tmp_path), form=form, **settings)
    assert [row.id for row in rows] == ["q1", "q2"]
    assert rows[0].question == folders.QUERIES["q1"]
    assert rows[0].passage == passage
    assert [text.endswith("He read.") for text in rows[0].negatives] == [True]
    assert rows[1].negatives == ()


def test_an_own_set_trains_without_a_split(tmp_path):
    rows = rows_of(write_set(tmp_path / "small", parallel_set(1)), form="isoglot")
    assert len(rows) == 9
    assert {row.document for row in rows} == {"p0"}


def test_mmarco_trains_on_triples(tmp_path):
    folders.mmarco(tmp_path)
    rows = rows_of(tmp_path, form="mmarco", split="train", language="de")
    found = {row.id: (row.passage, row.negatives) for row in rows}
    assert found == {
        "q1": ("She wrote it. german", ("He read. german", "In 1843. german")),
        "q2": ("In 1843. german", ("He read. german",)),
    }


def test_negatives_can_be_limited(tmp_path):
    folders.mmarco(tmp_path)
    rows = rows_of(tmp_path, form="mmarco", split="train", language="de", max_negatives=1)
    assert [row.negatives for row in rows] == [("He read. german",)] * 2


def test_a_folder_of_another_form_than_was_said_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not of form 'miracl'; looked for topics"):
        rows_of(folders.beir(tmp_path), form="miracl", split="train")


def test_passages_that_are_not_judged_are_not_kept_but_judged_ones_are_checked(tmp_path):
    folder = folders.beir(tmp_path)
    corpus = (folder / "corpus.jsonl").read_text()
    write(folder / "corpus.jsonl", corpus + lines([{"_id": "9#0", "text": ""}]))
    assert len(rows_of(folder, form="beir", split="test", language="en")) == 2
    write(folder / "corpus.jsonl", corpus.replace("She wrote it.", "").replace('"Ada"', '""', 1))
    with pytest.raises(DataError, match=r"corpus\.jsonl, line 1: the text of passage '7#0' is em"):
        rows_of(folder, form="beir", split="test", language="en")


BAD = [
    ("corpus.jsonl", '{"_id": "7#0"}\n', r"corpus\.jsonl, line 1: member 'text'.* is missing"),
    (
        "corpus.jsonl",
        lines([{"_id": "7#0", "text": "a"}, {"_id": "7#0", "text": "b"}]),
        r"corpus\.jsonl, line 2: passage '7#0' occurs twice .* \(first on line 1\)",
    ),
    (
        "corpus.jsonl",
        lines([{"_id": "7#0", "text": " "}]),
        r"corpus\.jsonl, line 1: the text of passage '7#0' is empty",
    ),
    (
        "corpus.jsonl",
        lines([{"_id": "7#0", "text": "a", "lang": "xx"}]),
        r"corpus\.jsonl, line 1: 'xx' is an unknown language",
    ),
    (
        "queries.jsonl.gz",
        lines([{"_id": "q1", "text": ""}]),
        r"queries\.jsonl\.gz, line 1: the text of query 'q1' is empty",
    ),
    (
        "qrels/test.tsv",
        "h\th\th\nq1\t7#0\t1\nq1\t9#9\t1\n",
        r"test\.tsv, line 3: the judgement names unknown passage '9#9'",
    ),
    (
        "qrels/test.tsv",
        "h\th\th\nq9\t7#0\t1\n",
        r"test\.tsv, line 2: the judgement names unknown query 'q9'",
    ),
    ("qrels/test.tsv", "h\th\th\nq1\t7#0\n", r"test\.tsv, line 2: expected 3 columns"),
    ("qrels/test.tsv", "h\th\th\nq1\t7#0\thigh\n", r"test\.tsv, line 2: grade 'high' is not"),
    (
        "qrels/test.tsv",
        "h\th\th\nq1\t7#0\t1\nq1\t7#0\t0\n",
        r"test\.tsv, line 3: query 'q1' and passage '7#0' have grade 0, but grade 1",
    ),
]


@pytest.mark.parametrize(("name", "content", "problem"), BAD)
def test_bad_input_is_named_by_file_and_line(tmp_path, name, content, problem):
    folder = folders.beir(tmp_path)
    write(folder / name, content)
    with pytest.raises(DataError, match=problem):
        read_retrieval_set(folder, language="en")


@pytest.mark.parametrize(("name", "content", "problem"), BAD)
def test_training_rows_name_bad_input_in_the_same_words(tmp_path, name, content, problem):
    folder = folders.beir(tmp_path)
    write(folder / name, content)
    with pytest.raises(DataError, match=problem):
        rows_of(folder, form="beir", split="test", language="en")


def test_a_set_without_languages_says_so_by_file_and_line(tmp_path):
    with pytest.raises(DataError, match=r"line 1: member 'lang' is missing: the row has no lang"):
        read_retrieval_set(folders.beir(tmp_path))


def test_a_repetition_of_a_row_is_no_contradiction(tmp_path):
    folder = folders.beir(tmp_path)
    corpus = folder / "corpus.jsonl"
    write(corpus, corpus.read_text() * 2)
    qrels = folder / "qrels/test.tsv"
    write(qrels, qrels.read_text() + tabs(GRADES))
    assert judged(read_retrieval_set(folder, language="en")) == RELEVANT


def test_a_run_is_ordered_by_score_and_ties_stay_in_file_order(tmp_path):
    path = write(
        tmp_path / "x.run", "q Q0 a 1 0.5 t\nq Q0 b 2 0.9 t\nq Q0 c 3 0.5 t\nr Q0 a 1 -1e2 t\n"
    )
    expected = {"q": [("b", 0.9), ("a", 0.5), ("c", 0.5)], "r": [("a", -100.0)]}
    assert read_run(path) == expected


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("q Q0 a 1 0.5", "expected 6 columns by white space"),
        ("q Q0 a 2 0.4 t", "passage 'a' occurs twice for query 'q'"),
        ("q Q0 b 2 high t", "score 'high' is not a number"),
        ("q Q0 b 2 nan t", "score 'nan' is not finite"),
    ],
)
def test_a_broken_line_of_a_run_is_named(tmp_path, line, problem):
    path = write(tmp_path / "x.run", f"q Q0 a 1 0.5 t\n{line}\n")
    with pytest.raises(DataError, match=rf"x\.run, line 2: {problem}"):
        read_run(path)
