"""From an export to a sealed bundle, through the commands."""

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from app.core.bundle import load_bundle
from tests.bundles import tiny_spec
from tests.training.exports import write_tiny_export
from tests.training.sets import write_set
from tests.training.test_calibration_data import write_sources
from training.calibration_config import load_calibration_config
from training.calibration_data import load_sets
from training.cli_evaluation import register

pytestmark = pytest.mark.training

CALIBRATION = """
languages = ["en", "de"]
corpus_sizes = [60]
queries_a_rung = 60
ridges = [1.0, 10.0]
folds = 2
features = ["score", "background", "log_corpus", "same"]
score_pieces = 2

[[set]]
path = "questions.jsonl.gz"
licence = "CC0"

[[set]]
path = "headings.jsonl"
licence = "MIT"
shared_ids = true
"""


def run(*words: object, expect: int = 0) -> str:
    cli = typer.Typer()
    register(cli)
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == expect, result.output
    return result.output


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an export, a calibration, an evaluation and a bundle."""
    root = tmp_path_factory.mktemp("made")
    write_sources(root)
    (root / "calibration.toml").write_text(CALIBRATION, encoding="utf-8")
    export = write_tiny_export(root / "export")
    sets = load_sets(load_calibration_config(root / "calibration.toml"), root)
    write_set(root / "faq", sets[1])
    (root / "notes.md").write_text("## Made by\n\nmake starter\n", encoding="utf-8")
    common = ("--model", export, "--arithmetic", "float32")
    calibration, evaluation = root / "calibration", root / "evaluation"
    run("calibrate", *common, "--config", root / "calibration.toml", "--data-root", root,
        "--out", calibration)  # fmt: skip
    run("calibrate", *common, "--config", root / "calibration.toml", "--data-root", root,
        "--retrieval", "hybrid", "--out", calibration)  # fmt: skip
    run("evaluate", *common, "--set", root / "faq", "--calibration", calibration,
        "--run-files", "--out", evaluation)  # fmt: skip
    run(*bundle_words(root, root / "bundle"), "--notes", root / "notes.md")
    return root


def test_forms_of_the_calibrator_are_compared_on_sources_left_out(made):
    common = ("--model", made / "export", "--arithmetic", "float32", "--data-root", made)
    words = ("transfer", *common, "--config", made / "calibration.toml", "--pieces")
    said = run(*words, "1,2")
    assert [row.split("|")[1].strip() for row in said.splitlines()[:4]][2:] == ["1", "2"]
    for pieces in ("six", "0,2"):
        assert "not a list of numbers from 1 on" in run(*words, pieces, expect=2)


def bundle_words(root: Path, out: Path) -> tuple[object, ...]:
    return (
        "bundle", "--model", root / "export", "--calibration", root / "calibration",
        "--evaluation", root / "evaluation", "--out", out, "--name", "tiny",
    )  # fmt: skip


def test_the_bundle_loads_with_its_calibrator_and_reference(made):
    bundle = load_bundle(made / "bundle")
    assert bundle.calibrator is not None
    assert bundle.calibrator.document.encoder.fingerprint == tiny_spec().fingerprint()
    assert bundle.calibrator.document.encoder.dtype == "float32"
    assert bundle.calibrator.document.score_pieces is not None
    assert bundle.manifest.onnx == {"float32": "encoder/model.onnx"}
    assert bundle.manifest.training["licences"] == ["CC0"]
    assert bundle.reference["calibrator"] == bundle.calibrator.id
    assert bundle.hybrid is not None
    assert bundle.hybrid.document.retrieval == "hybrid"
    assert bundle.hybrid.document.evidence is not None


def test_a_bundle_needs_no_calibrator_of_hybrid_retrieval(made, tmp_path):
    dense = tmp_path / "calibration"
    shutil.copytree(made / "calibration", dense)
    (dense / "calibrator.hybrid.json").unlink()
    words = list(bundle_words(made, tmp_path / "bundle"))
    words[words.index(made / "calibration")] = dense
    run(*words)
    assert load_bundle(tmp_path / "bundle").hybrid is None


def test_the_calibrator_of_hybrid_retrieval_is_measured_on_hybrid_lists(made):
    results = json.loads((made / "evaluation" / "results.json").read_text(encoding="utf-8"))
    part = results["sets"]["faq"]["hybrid_calibration"]
    assert {"all", "same", "cross"} <= set(part["groups"])
    dense = results["sets"]["faq"]["calibration"]
    assert part["calibrator"] != dense["calibrator"]
    hits = [found["groups"]["all"]["logit-linear"]["hits"] for found in (part, dense)]
    assert hits[0] > hits[1]
    table = (made / "evaluation" / "table.md").read_text(encoding="utf-8")
    assert f"calibrator {part['calibrator']}" in table


def test_the_report_holds_results_diagrams_and_a_card(made):
    report = made / "bundle" / "report"
    names = {path.name for path in report.iterdir()}
    assert {"results.json", "table.md", "calibration.json", "model_card.md"} <= names
    assert {"reliability-faq-same.svg", "reliability-faq-cross.svg"} <= names
    card = (report / "model_card.md").read_text(encoding="utf-8")
    assert "make starter" in card
    assert "made up" in card
    assert "asked" in card
    results = json.loads((report / "results.json").read_text(encoding="utf-8"))
    mono = results["sets"]["faq"]["encoder"]["summary"]["mono/map"]["value"]
    assert f"{mono:.3f}" in card


def test_calibration_is_measured_by_relation_against_references(made):
    results = json.loads((made / "evaluation" / "results.json").read_text(encoding="utf-8"))
    groups = results["sets"]["faq"]["calibration"]["groups"]
    assert {"all", "same", "cross"} <= set(groups)
    assert {"logit-linear", "Platt on the score", "base rate", "isotonic (netcal)"} <= set(
        groups["same"]
    )
    measured = groups["same"]["logit-linear"]
    ratio = measured["expected_observed"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]


def test_reference_distributions_are_cumulative(made):
    reference = json.loads((made / "calibration" / "reference.json").read_text(encoding="utf-8"))
    for kind in ("score_cdf", "probability_cdf"):
        for relation in ("same", "cross"):
            shares = list(reference[kind][relation].values())
            assert shares == sorted(shares)
            assert shares[-1] <= 1.0
    assert list(reference["score_cdf"]["same"])[:2] == ["-0.1", "-0.05"]
    assert list(reference["score_cdf"]["same"])[-1] == "1.0"


def test_a_bundle_that_is_too_large_is_refused_and_nothing_is_left(made, tmp_path):
    out = tmp_path / "large"
    output = run(*bundle_words(made, out), "--max-megabytes", "0.01", expect=3)
    assert "0.01 are allowed" in output
    assert not out.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_exists_is_replaced_only_when_asked(made, tmp_path):
    out = tmp_path / "bundle"
    run(*bundle_words(made, out))
    assert "exists already" in run(*bundle_words(made, out), expect=3)
    run(*bundle_words(made, out), "--force")
    load_bundle(out)


def test_parts_of_another_encoder_are_refused(made, tmp_path):
    other = tmp_path / "export"
    shutil.copytree(made / "export", other)
    spec = json.dumps(tiny_spec(query_prefix="query: ").to_json())
    (other / "encoder_spec.json").write_text(spec, encoding="utf-8")
    words = ("bundle", "--model", other, "--calibration", made / "calibration",
             "--evaluation", made / "evaluation", "--name", "x")  # fmt: skip
    assert "fitted for encoder" in run(*words, "--out", tmp_path / "bundle", expect=3)
    evaluation = ("evaluate", "--model", other, "--arithmetic", "float32", "--set", made / "faq")
    refused = (*evaluation, "--calibration", made / "calibration", "--out", tmp_path / "evaluation")
    assert "Fit it again" in run(*refused, expect=3)


def test_a_calibration_without_its_data_says_which_file_is_missing(made, tmp_path):
    output = run(
        "calibrate", "--model", made / "export", "--arithmetic", "float32",
        "--config", made / "calibration.toml", "--data-root", tmp_path, "--out", tmp_path / "out",
        expect=2,
    )  # fmt: skip
    assert "questions.jsonl.gz" in output


def test_a_bundle_is_measured_like_the_export_it_was_made_of(made, tmp_path):
    words = ("--set", made / "faq", "--baselines", "none", "--out", tmp_path / "out")
    run("evaluate", "--model", made / "bundle", "--calibration", made / "calibration", *words)
    again, first = (
        json.loads((directory / "results.json").read_text())["sets"]["faq"]
        for directory in (tmp_path / "out", made / "evaluation")
    )
    assert again["encoder"] == first["encoder"]
    ours = first["calibration"]["groups"]["same"]["logit-linear"]
    assert again["calibration"]["groups"]["same"]["logit-linear"] == ours


def test_the_calibrator_of_a_bundle_can_be_evaluated_and_a_lone_one_is_refused(made, tmp_path):
    words = ("evaluate", "--model", made / "export", "--arithmetic", "float32",
             "--set", made / "faq", "--baselines", "none")  # fmt: skip
    run(*words, "--calibration", made / "bundle", "--out", tmp_path / "of_bundle")
    found = json.loads((tmp_path / "of_bundle" / "results.json").read_text(encoding="utf-8"))
    known = json.loads((made / "evaluation" / "results.json").read_text(encoding="utf-8"))
    part = "calibration"
    assert found["sets"]["faq"][part] == known["sets"]["faq"][part]
    lone = tmp_path / "lone"
    lone.mkdir()
    text = (made / "bundle" / "calibrator.json").read_text(encoding="utf-8")
    (lone / "calibrator.json").write_text(text, encoding="utf-8")
    said = run(*words, "--calibration", lone, "--out", tmp_path / "of_lone", expect=2)
    assert "has no calibration.json" in said
