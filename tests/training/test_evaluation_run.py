import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.training.conftest import write_lines
from tests.training.exports import write_tiny_export
from tests.training.sets import parallel_set, write_set
from training.cli import cli

pytestmark = pytest.mark.training

LEXICON = {"id": "w0", "en": "thing", "tr": {"de": ["Ding"], "es": ["cosa"]}}


QUESTIONS = """
languages = ["en", "de"]
[[set]]
name = "asked in English"
path = "en.jsonl"
licence = "CC0"
[[set]]
name = "asked in German"
path = "de.jsonl"
licence = "CC0"
[[set]]
name = "in both"
path = "both.jsonl"
licence = "CC0"
shared_ids = true
"""


PASSAGE = " ".join(
    f"This is sentence {k} of the passage on thing {{0}}, and it is long." for k in "abc"
)


def invoke(*arguments: Any) -> Any:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A tiny export and a set, evaluated with run files and all baselines."""
    root: Path = tmp_path_factory.mktemp("evaluation")
    write_tiny_export(root / "export")
    write_set(root / "small", parallel_set(questions=5))
    (root / "lexicon.jsonl").write_text(json.dumps(LEXICON) + "\n")
    (root / "questions.toml").write_text(QUESTIONS)
    result = invoke(
        "evaluate", "--model", root / "export", "--set", root / "small", "--run-files",
        "--baselines", "char-ngrams,bm25,bm25-lexicon", "--lexicon", root / "lexicon.jsonl",
        "--vectors", root / "vectors", "--vector-dtype", "float16", "--out", root / "encoder",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return root


def results_of(directory: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((directory / "results.json").read_text())
    return results


def test_baselines_stand_beside_the_encoder_in_the_order_they_are_known_by(root):
    results = results_of(root / "encoder")
    assert list(results["sets"]["small"]["baselines"]) == ["bm25", "bm25-lexicon", "char-ngrams"]
    assert results["settings"]["lexicon"] == "lexicon.jsonl"
    assert results["settings"]["vectors"] == "float16"
    assert (root / "vectors" / "small.npy").is_file()
    page = (root / "encoder" / "table.md").read_text()
    assert "| mAP | encoder | bm25 | bm25-lexicon | char-ngrams |" in page
    assert set(results["macro"]) == {"encoder", "bm25", "bm25-lexicon", "char-ngrams"}


def test_a_run_file_is_scored_like_the_encoder_that_wrote_it(root, tmp_path):
    run = root / "encoder" / "small.run"
    result = invoke(
        "evaluate", "--run", run, "--set", root / "small", "--baselines", "none", "--out", tmp_path
    )
    assert result.exit_code == 0, result.output
    results = results_of(tmp_path)
    ours, theirs = results["sets"]["small"]["run"], results_of(root / "encoder")
    assert ours["summary"] == theirs["sets"]["small"]["encoder"]["summary"]
    assert results["settings"]["run"]["depth"] == 30
    assert results["settings"]["run"]["tags"] == ["isoglot"]
    assert "lists at most 30 passages a query; 0 queries have none" in result.stdout


def test_question_passage_files_are_measured_as_sets_of_sentences(root, tmp_path):
    asked = {"en": "What is thing {}?", "de": "Was ist Ding {}?"}
    rows = [
        {
            "id": f"r{n}",
            "lang": code,
            "question": text.format(n),
            "passage": PASSAGE.format(n),
        }
        for n in range(4)
        for code, text in asked.items()
    ]
    for code in asked:
        write_lines(tmp_path / f"{code}.jsonl", [row for row in rows if row["lang"] == code])
    write_lines(tmp_path / "both.jsonl", rows)
    result = invoke(
        "evaluate", "--model", root / "export", "--questions", root / "questions.toml",
        "--data-root", tmp_path, "--baselines", "none", "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    sets = results_of(tmp_path / "out")["sets"]
    assert list(sets) == ["asked in English", "asked in German", "in both"]
    assert sets["in both"]["pool"]["passages_by_language"] == {"de": 12, "en": 12}
    maps = [part["encoder"]["summary"]["mono/map"]["value"] for part in sets.values()]
    assert (
        f"| mean of the 2 in one language | {(maps[0] + maps[1]) / 2:.3f} | – | – |"
        in result.stdout
    )
    assert f"| in both | {maps[2]:.3f} | 0" in result.stdout


def test_systems_are_compared_from_the_command_line(root, tmp_path):
    results = root / "encoder"
    result = invoke(
        "compare", results, results, "--system-b", "bm25", "--metrics", "mono/map, multi/map",
        "--out", tmp_path / "c.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "c.json").read_text())
    summary = results_of(results)["sets"]["small"]
    row = found["sets"]["small"]["mono/map"]
    assert row["a"] == pytest.approx(summary["encoder"]["summary"]["mono/map"]["value"])
    assert row["b"] == pytest.approx(summary["baselines"]["bm25"]["summary"]["mono/map"]["value"])
    assert list(found["sets"]["small"]) == ["mono/map", "multi/map"]
    assert "B: bm25 in encoder" in result.stdout


def test_an_evaluation_that_fails_leaves_no_earlier_results_behind(root, tmp_path):
    (tmp_path / "results.json").write_text("{}")
    bad = write_set(tmp_path / "bad", parallel_set(questions=1))
    (bad / "qrels.tsv.gz").unlink()
    words = ("--model", root / "export", "--set", bad, "--out", tmp_path)
    assert invoke("evaluate", *words).exit_code == 2
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "{small}"], "Give either --model DIR or --run FILE"),
        (["--set", "{small}", "--model", "{export}", "--run", "{run}"], "Give either --model"),
        (["--set", "{small}", "--model", "{export}", "--baselines", "bm52"], "'bm52' is not known"),
        (
            ["--set", "{small}", "--model", "{export}", "--baselines", "bm25-lexicon"],
            "need one another",
        ),
        (["--set", "{small}", "--model", "{export}", "--lexicon", "{lexicon}"], "need one another"),
        (["--set", "{small}", "--set", "{small}", "--run", "{run}"], "one file on one --set"),
        (["--set", "{small}", "--run", "{run}", "--run-files"], "need an encoder"),
        (["--questions", "{questions}", "--run", "{run}"], "one file on one --set"),
        (["--model", "{export}"], "give --set at least once"),
        (["--questions", "{lexicon}", "--model", "{export}"], "lexicon.jsonl is not valid TOML"),
        (["--set", "{small}", "--set", "{small}", "--model", "{export}"], "a second set is called"),
        (["--set", "{export}", "--model", "{export}"], "is not a retrieval set"),
        (["--set", "{small}", "--run", "{lexicon}"], "line 1: expected 6 fields"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(root, tmp_path, words, message):
    paths = {
        "small": root / "small", "export": root / "export",
        "run": root / "encoder" / "small.run", "lexicon": root / "lexicon.jsonl",
        "questions": root / "questions.toml",
    }  # fmt: skip
    result = invoke("evaluate", *(word.format(**paths) for word in words), "--out", tmp_path)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "results.json").exists()
