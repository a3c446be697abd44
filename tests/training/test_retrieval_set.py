import pytest

from tests.training.sets import parallel_set
from training.data import PairRow
from training.errors import DataError
from training.question_set import QuestionSource, question_set
from training.retrieval_set import (
    RetrievalSet,
    RowArray,
    SetPassage,
    SetQuery,
    assemble,
)

pytestmark = pytest.mark.training


def test_passages_are_ordered_by_id_so_that_rows_break_ties():
    data = parallel_set()
    ids = [passage.id for passage in data.passages]
    assert ids == sorted(ids)


def test_translations_of_a_question_share_a_cluster():
    data = parallel_set(questions=2, languages=("de", "en"))
    by_id = dict(zip([query.id for query in data.queries], data.clusters, strict=True))
    assert by_id["q0.de"] == by_id["q0.en"] != by_id["q1.de"]


def test_grades_separate_relevant_irrelevant_and_unjudged():
    passages = [SetPassage(f"p{n}", "en", "text", "d") for n in range(4)]
    judgements = {"q": {"p0": 2, "p1": 0, "p3": -1}}
    data = assemble("set", [SetQuery("q", "en", "text", "q")], passages, judgements)
    assert data.relevant[0].tolist() == [0]
    assert data.grades[0].tolist() == [2]
    assert data.unjudged[0].tolist() == [3]


def test_queries_without_judgements_are_left_out():
    queries = [SetQuery("asked", "en", "a", "a"), SetQuery("unknown", "en", "b", "b")]
    data = assemble("set", queries, [SetPassage("p", "en", "c", "d")], {"asked": {"p": 1}})
    assert [query.id for query in data.queries] == ["asked"]


@pytest.mark.parametrize(
    ("judgements", "message"),
    [
        ({"q": {"nowhere": 1}}, "unknown passage 'nowhere'"),
        ({"nobody": {"p": 1}}, "unknown query 'nobody'"),
        ({}, "no query has a judgement"),
    ],
)
def test_judgements_must_fit_the_set(judgements, message):
    with pytest.raises(DataError, match=message):
        assemble(
            "set", [SetQuery("q", "en", "a", "q")], [SetPassage("p", "en", "b", "d")], judgements
        )


def test_an_id_that_occurs_twice_is_refused():
    twice = [SetPassage("p", "en", "a", "d"), SetPassage("p", "de", "b", "d")]
    with pytest.raises(DataError, match="'p' occurs twice"):
        assemble("set", [SetQuery("q", "en", "a", "q")], twice, {"q": {"p": 1}})


FIRST = "The first sentence is about the house of the king."
SECOND = "The second tells who built it in the year 1900."
TEXT = f"{FIRST} {SECOND}"


def row(
    language: str = "en",
    answer_start: int | None = None,
    passage: str = TEXT,
    row_id: str = "r1",
) -> PairRow:
    return PairRow(row_id, language, "who built it?", passage, answer_start, document="doc")


def texts(data: RetrievalSet, rows: RowArray) -> list[str]:
    return [data.passages[r].text for r in rows]


def test_the_sentence_that_holds_the_answer_is_relevant_and_its_neighbours_are_not():
    data = question_set(QuestionSource("set", [row(answer_start=TEXT.index("1900"))], False))
    assert texts(data, data.relevant[0]) == [SECOND]
    assert len(data.passages) == 2
    assert data.unjudged[0].size == 0


def test_without_an_answer_the_first_sentence_is_relevant_and_the_rest_unjudged():
    data = question_set(QuestionSource("set", [row()], False))
    assert texts(data, data.relevant[0]) == [FIRST]
    assert texts(data, data.unjudged[0]) == [SECOND]


def test_rows_of_one_shared_id_are_relevant_for_one_another():
    german = "Der erste Satz handelt vom Haus des Königs. Der zweite sagt, wer es 1900 gebaut hat."
    data = question_set(QuestionSource("set", [row(), row("de", passage=german)], True))
    for relevant in data.relevant:
        assert sorted(data.passages[r].language for r in relevant) == ["de", "en"]


def test_rows_of_one_id_are_strangers_without_shared_ids():
    data = question_set(QuestionSource("set", [row(), row("de", passage="Ein Satz.")], False))
    assert [len(relevant) for relevant in data.relevant] == [1, 1]


def test_a_sentence_that_occurs_in_two_passages_is_one_candidate():
    rows = [row(answer_start=0), row(answer_start=0, row_id="r2")]
    data = question_set(QuestionSource("set", rows, False))
    assert len(data.passages) == 2
    assert len(data.queries) == 2
