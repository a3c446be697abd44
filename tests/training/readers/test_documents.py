"""SQuAD-form JSON, and LAReQA, which adds sentences to it."""

import json
from collections import Counter
from typing import Any

import pytest

from tests.training.readers import folders
from tests.training.readers.folders import CONTEXT, write
from training.config import PairSource
from training.data import read_pairs
from training.data_passage import cut_passage
from training.errors import DataError
from training.readers.recognise import read_retrieval_set, recognise

pytestmark = pytest.mark.training

GERMAN = "Ada lebte in London. Das erste Programm schrieb sie 1843."


def pairs(path: Any, **settings: Any) -> Any:
    counts: Counter[str] = Counter()
    source = PairSource(path="x", licence="CC0", form="squad", **settings)
    return list(read_pairs(path, source, None, counts)), counts


def test_a_squad_file_gives_pairs_with_the_offset_of_the_answer(tmp_path):
    rows, counts = pairs(folders.squad(tmp_path))
    (row,) = rows
    assert (row.id, row.language, row.question) == ("s1", "en", "When? en")
    assert row.passage[row.answer_start :].startswith("1843")
    assert (row.title, row.document) == ("Ada", "Ada")
    assert counts == {"unanswerable": 1}


def test_the_passage_is_cut_around_the_answer(tmp_path):
    context = "Nothing of use is said here at all, truly. " * 9 + "She wrote it in 1843, they say."
    (row,), _ = pairs(folders.squad(tmp_path, context=context))
    cut = cut_passage(row.passage, row.answer_start, 90, row.language)
    assert "1843" in cut
    assert len(cut) <= 90


def test_the_language_that_is_given_goes_before_the_name_of_the_file(tmp_path):
    rows, _ = pairs(folders.squad(tmp_path, "en"), language="fr")
    assert rows[0].language == "fr"
    plain = write(tmp_path / "plain.json", folders.squad(tmp_path).read_text())
    with pytest.raises(
        DataError, match=r"plain\.json: data\[0\]\.paragraphs\[0\]\.qas\[0\]: membe"
    ):
        pairs(plain)


def test_an_answer_that_stands_elsewhere_is_found_and_counted(tmp_path):
    path = folders.squad(tmp_path)
    document = json.loads(path.read_text())
    answer = document["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]
    answer["answer_start"] = 3
    path.write_text(json.dumps(document))
    (row,), counts = pairs(path)
    assert row.answer_start == CONTEXT.index("1843")
    assert counts["answer_not_at_its_offset"] == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"answers": [{"text": "x", "answer_start": 999}]}, r"answers\[0\]: answer_start is 999"),
        ({"answers": [{"text": "x"}]}, r"answers\[0\]: answer_start is None; the context has"),
        ({"answers": ["x"]}, r"answers\[0\]: is str, not an object"),
        ({"question": ""}, "member 'question' is empty"),
        ({"id": None}, "member 'id' is missing"),
    ],
)
def test_a_broken_question_is_named_by_where_it_stands(tmp_path, change, problem):
    path = folders.squad(tmp_path)
    document = json.loads(path.read_text())
    document["data"][0]["paragraphs"][0]["qas"][0] |= change
    path.write_text(json.dumps(document))
    where = r"set\.en\.json: data\[0\]\.paragraphs\[0\]\.qas\[0\]"
    with pytest.raises(DataError, match=f"{where}.*{problem}"):
        pairs(path)


def test_a_document_of_another_form_says_what_is_missing(tmp_path):
    path = write(tmp_path / "x.en.json", '{"data": [{"title": "T"}]}')
    with pytest.raises(DataError, match=r"data\[0\]: member 'paragraphs' must be a list"):
        pairs(path)
    with pytest.raises(DataError, match="is not a retrieval set of a known form"):
        recognise(path)


def test_a_broken_json_file_is_an_error_and_not_another_form(tmp_path):
    path = write(tmp_path / "x.en.json", '{"data": [')
    with pytest.raises(DataError, match="line 1: is not JSON"):
        recognise(path)


def test_translations_of_a_context_answer_a_question_in_every_language(tmp_path):
    folders.squad(tmp_path, "en")
    folders.squad(tmp_path, "de", GERMAN)
    data = read_retrieval_set(tmp_path)
    assert [query.id for query in data.queries] == ["s1_de", "s1_en"]
    assert len(set(data.clusters.tolist())) == 1
    for rows in data.relevant:
        assert sorted(data.passages[row].text for row in rows) == sorted([CONTEXT, GERMAN])


def test_questions_on_contexts_in_another_language_are_read_as_mlqa_has_them(tmp_path):
    english = folders.squad(tmp_path / "raw", "en").read_text()
    asked_in_german = english.replace("When? en", "Wann?")
    write(tmp_path / "dev-context-en-question-en.json", english)
    path = write(tmp_path / "dev-context-en-question-de.json", asked_in_german)
    data = read_retrieval_set(tmp_path)
    assert {query.id: query.language for query in data.queries} == {"s1_en": "en", "s1_de": "de"}
    assert [passage.language for passage in data.passages] == ["en"]
    with pytest.raises(DataError, match="question and context have different languages"):
        pairs(path)


def test_the_sentences_of_lareqa_are_its_candidates(tmp_path):
    data = read_retrieval_set(folders.lareqa(tmp_path / "mlqa-r"))
    assert data.name == "mlqa-r"
    assert {passage.id: passage.text for passage in data.passages} == {
        "de_1_0": "Es regnet.",
        "de_1_1": "Ada schrieb es.",
        "en_1_0": "It rains.",
        "en_1_1": "Ada wrote it.",
        "en_1_2": "It rains.",
    }
    assert {passage.document for passage in data.passages} == {"de_1", "en_1"}


def test_sentences_that_read_like_the_answer_are_relevant_in_every_language(tmp_path):
    data = read_retrieval_set(folders.lareqa(tmp_path))
    assert [query.id for query in data.queries] == ["x1_de", "x1_en"]
    for rows in data.relevant:
        assert [data.passages[row].id for row in rows] == ["de_1_1", "en_1_0", "en_1_2"]


def test_a_question_whose_answer_is_in_no_sentence_is_counted(tmp_path):
    judged = recognise(folders.lareqa(tmp_path))
    assert [record.id for record in judged.queries()] == ["x1_de", "x1_en"]
    assert judged.counts == {"answer_in_no_sentence": 2}


def test_lareqa_takes_the_offset_of_the_answer_as_it_was_published(tmp_path):
    folder = folders.lareqa(tmp_path)
    document = json.loads((folder / "de.json").read_text())
    question = document["data"][0]["paragraphs"][0]["qas"][0]
    question["answers"][0] = {"text": "regnet", "answer_start": 15}
    (folder / "de.json").write_text(json.dumps(document))
    data = read_retrieval_set(folder)
    assert [data.passages[row].id for row in data.relevant[0]] == ["de_1_1", "en_1_0", "en_1_2"]


@pytest.mark.parametrize("breaks", [[[0, 99]], [[3, 3]], [[0]], ["0-3"], "all"])
def test_a_sentence_break_outside_of_the_context_is_named(tmp_path, breaks):
    folder = folders.lareqa(tmp_path)
    path = folder / "de.json"
    document = json.loads(path.read_text())
    document["data"][0]["paragraphs"][0]["sentence_breaks"] = breaks
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"de\.json: data\[0\]\.paragraphs\[0\]: .*sentence_breaks"):
        read_retrieval_set(folder)


def test_lareqa_trains_on_whole_contexts(tmp_path):
    source = PairSource(path="x", licence="CC0", form="lareqa", shared_ids=True)
    rows = list(read_pairs(folders.lareqa(tmp_path), source, ["de"]))
    assert [(row.id, row.passage) for row in rows[:1]] == [("x1", "Es regnet. Ada schrieb es.")]
