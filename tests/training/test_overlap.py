import json
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.training.conftest import STATIC_TOML, passage, write_lines
from tests.training.readers import folders
from training.cli import cli
from training.overlap import EvaluationTexts, find_overlap
from training.overlap_rows import training_rows, training_sources
from training.readers.recognise import recognise

pytestmark = pytest.mark.training

SECRET = "The lighthouse on the northern cape was lit for the first time in the winter of 1871."
GERMAN = "Der Leuchtturm am nördlichen Kap wurde im Winter des Jahres 1871 zum ersten Mal gezündet."
OTHER = "Nothing in this sentence stands in the evaluation set, so nobody should complain of it."


def evaluation_set(directory: Any, second: Any = "It stands to this day.") -> Any:
    """Two languages, two passages of one document each, with titles."""
    directory.mkdir()
    texts = [("en", SECRET, "en_0"), ("en", second, "en_0"), ("de", GERMAN, "de_0")]
    write_lines(
        directory / "passages.jsonl",
        [
            {"id": f"p{k}", "lang": lang, "text": text, "context_id": doc, "title": "Cape_Light"}
            for k, (lang, text, doc) in enumerate(texts)
        ],
    )
    asked = [{"id": "q1", "lang": "en", "text": "When was the light first lit?"}]
    write_lines(directory / "queries.jsonl", asked)
    (directory / "qrels.tsv").write_text("query_id\tpassage_id\tgrade\nq1\tp0\t1\n")
    return directory


def overlap_of(tmp_path: Any, rows: Any, name: Any = "pairs.jsonl", **options: Any) -> Any:
    path = tmp_path / name
    write_lines(path, rows)
    directory = tmp_path / "set"
    if not directory.exists():
        evaluation_set(directory)
    evaluation = EvaluationTexts(recognise(directory))
    ((source, root, _),) = training_sources([path], tmp_path)
    compared = training_rows(source, root, evaluation.languages)
    return find_overlap(source, compared, evaluation, **options)


def pair(text: Any = OTHER, **members: Any) -> Any:
    return {"id": "r1", "lang": "en", "question": "what?", "passage": text, **members}


def test_a_planted_passage_is_found_whatever_its_case_punctuation_and_blanks(tmp_path):
    planted = f"{OTHER} {SECRET.upper().replace(' ', '  ').replace('.', ' !')} {OTHER}"
    found = overlap_of(tmp_path, [pair(), pair(planted, id="r2")])
    assert (found.rows, found.overlapping_rows, found.text_rows) == (2, 1, 1)
    (example,) = found.examples
    assert (example.kind, example.row_id, example.evaluation_id) == ("text", "r2", "en_0")
    assert example.shared.startswith("the lighthouse on the northern cape was lit")
    assert example.letters == found.longest_letters == sum(map(str.isalnum, SECRET))


@pytest.mark.parametrize(
    "where", [{"question": SECRET}, {"negatives": [SECRET]}, {"passage": SECRET}]
)
def test_everything_that_is_trained_on_is_compared(tmp_path, where):
    assert overlap_of(tmp_path, [pair(**where)]).text_rows == 1


def test_thirty_shared_letters_are_found_and_twenty_nine_are_not(tmp_path):
    letters = [k for k, character in enumerate(SECRET) if character.isalnum()]
    thirty = SECRET[letters[5] : letters[34] + 1]
    assert sum(map(str.isalnum, thirty)) == 30
    found = overlap_of(tmp_path, [pair(f"Xy {thirty} zw")])
    assert found.longest_letters == 30
    assert overlap_of(tmp_path, [pair(f"Xy {thirty[:-1]} zw")]).overlapping_rows == 0


def test_a_longer_least_run_can_be_asked_for(tmp_path):
    rows = [pair(SECRET[:50]), pair(SECRET)]
    assert overlap_of(tmp_path, rows, min_letters=60).text_rows == 1


def test_the_same_text_in_another_language_is_no_overlap(tmp_path):
    assert overlap_of(tmp_path, [pair(SECRET, lang="de")]).overlapping_rows == 0
    assert overlap_of(tmp_path, [pair(GERMAN, lang="de")]).overlapping_rows == 1


def test_passages_of_one_document_are_joined(tmp_path):
    across = "in the winter of 1871. It stands to this day."
    assert overlap_of(tmp_path, [pair(across)]).text_rows == 1


def test_titles_and_whole_questions_are_compared(tmp_path):
    rows = [
        pair(title="Cape Light"),
        pair(id="r2", question="when was the LIGHT first lit"),
        pair(id="r3", question="When was the light first lit, and by whom?", title="Cape"),
    ]
    found = overlap_of(tmp_path, rows)
    assert (found.overlapping_rows, found.title_rows, found.question_rows) == (2, 1, 1)
    assert found.text_rows == 0
    assert {(e.kind, e.row_id, e.evaluation_id) for e in found.examples} == {
        ("title", "r1", "en_0"),
        ("question", "r2", "q1"),
    }


def test_parallel_text_is_compared_in_each_of_its_languages(tmp_path):
    rows = [
        {"id": "1", "en": "Good day to you all.", "de": "Guten Tag."},
        {"id": "2", "en": "A light was lit.", "de": f"Ja. {GERMAN}"},
    ]
    found = overlap_of(tmp_path, rows, name="parallel.jsonl")
    assert (found.rows, found.text_rows) == (2, 1)
    assert (found.examples[0].row_id, found.examples[0].language) == ("2", "de")


def test_the_longest_examples_are_kept(tmp_path):
    rows = [pair(SECRET[:length], id=str(length)) for length in range(40, 80, 5)]
    found = overlap_of(tmp_path, rows)
    assert found.text_rows == 8
    assert [example.row_id for example in found.examples] == ["75", "70", "65", "60", "55"]


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(cli, ["overlap", *map(str, arguments)])


def test_the_command_reads_a_configuration_and_ends_well_without_overlap(tmp_path, data_root):
    config = tmp_path / "run.toml"
    config.write_text(STATIC_TOML)
    directory = evaluation_set(tmp_path / "set")
    result = run(config, "--data-root", data_root, "--against", directory, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    names = ["parallel", "lexicon", "shared", "questions.en"]
    assert [source["source"] for source in document["sources"]] == names
    assert all(source["rows"] > 0 for source in document["sources"])
    assert document["evaluation"]["languages"] == ["de", "en"]
    assert document["overlapping_rows"] == 0


def test_the_command_fails_where_a_source_shares_more_than_is_allowed(tmp_path, data_root):
    config = tmp_path / "run.toml"
    config.write_text(STATIC_TOML)
    # The questions of one topic have a passage that the evaluation set has too.
    directory = evaluation_set(tmp_path / "set", second=passage("en", 105))
    arguments = (config, "--data-root", data_root, "--against", directory)
    result = run(*arguments, "--out", tmp_path / "overlap.json")
    assert result.exit_code == 1
    assert "| questions.en | 96 | 2 | 2 | 0 | 0 |" in result.stdout
    assert "as in en_0" in result.stdout
    found = json.loads((tmp_path / "overlap.json").read_text())["sources"][-1]
    assert (found["overlapping_rows"], found["licence"]) == (2, "CC BY-SA 4.0")
    assert run(*arguments, "--allow", 2).exit_code == 0


def test_the_command_names_a_set_that_it_does_not_know(tmp_path):
    path = tmp_path / "pairs.jsonl"
    write_lines(path, [pair()])
    result = run(path, "--against", tmp_path)
    assert result.exit_code == 2
    assert "is not a retrieval set of a known form" in result.stderr


def test_the_command_names_a_broken_training_row(tmp_path):
    path = tmp_path / "pairs.jsonl"
    write_lines(path, [pair(), pair(lang="xx")])
    result = run(path, "--against", evaluation_set(tmp_path / "set"))
    assert result.exit_code == 2
    assert "pairs.jsonl, line 2: 'xx' is an unknown language code" in result.stderr


def test_the_evaluation_set_may_have_any_form_with_its_split_and_language(tmp_path):
    path = tmp_path / "pairs.jsonl"
    write_lines(path, [pair(question=folders.QUERIES["q2"])])
    folder = folders.beir(tmp_path / "set")
    arguments = (path, "--against", folder, "--split", "test", "--json")
    result = run(*arguments, "--language", "en")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["sources"][0]["question_rows"] == 1
    assert run(*arguments, "--language", "de").exit_code == 0
    assert "has no language" in run(*arguments).stderr
