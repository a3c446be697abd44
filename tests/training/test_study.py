import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.progress import Progress
from typer.testing import CliRunner

from tests.training.study_data import read_json, write_study_data
from training import cli_study
from training.data_prepared import open_prepared
from training.errors import ConfigError, RunError, RunInterruptedError
from training.study.analysis import finished_cells
from training.study.cells import Cell, cell_directory, for_seed, grid
from training.study.config import Study, load_study
from training.study.report import write_report
from training.study.run import StudyOptions, run_study, unfinished
from training.study.work import CELL, SUMS, Places

pytestmark = pytest.mark.training

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
SMOKE = CONFIGS / "study_smoke.toml"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    write_study_data(root / "data")
    return root


def command(*arguments: str) -> tuple[int, str]:
    cli = typer.Typer()
    cli_study.register(cli)
    cli.command()(lambda: None)  # with one command alone, typer takes no name
    result = CliRunner().invoke(cli, ["study", *arguments])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def finished(root):
    """The smoke study, run through the command line in one process."""
    code, output = command(
        "--config", str(SMOKE), "--data-root", str(root / "data"), "--out", str(root / "out")
    )
    assert code == 0, output
    return output


def places(root: Path, out: Path) -> Places:
    return Places(SMOKE, root / "data", root / "out" / "prepared", out, root / "cache")


def smaller(**changes: object) -> Study:
    study = load_study(SMOKE)
    return Study(study.config.model_copy(update=changes), study.base)


def test_the_smoke_study_runs_from_end_to_end(root, finished):
    study = load_study(SMOKE)
    assert unfinished(study, root / "out") == []
    assert "| H1 |" in finished
    assert "cells are missing" not in finished
    assert "starts again" not in finished
    report = root / "out" / "smoke" / "report"
    page = (report / "report.md").read_text(encoding="utf-8")
    for picture in report.glob("*.svg"):
        assert f"]({picture.name})" in page
    assert len(list(report.glob("*.svg"))) == 7
    assert "18 of 18" in page
    assert "What this cannot show" in page


def test_results_hold_every_cell_with_what_it_was_made_from(root, finished):
    results = read_json(root / "out" / "smoke" / "report" / "results.json")
    assert [cell["id"] for cell in results["cells"]] == [c.id for c in grid(load_study(SMOKE))]
    for cell in results["cells"]:
        assert set(cell["calibration"]) == {"article split", "transfer"}
        assert "torch" in cell["versions"]
        assert "commit" in cell
        assert 0.0 < cell["retrieval"]["mono/map"] <= 1.0
    assert results["study"]["hybrid"]["loss_temperature"] == 0.05
    assert str(root) not in (root / "out" / "smoke" / "report" / "results.json").read_text()


def test_finished_cells_keep_logs_and_no_encoder(root, finished):
    for cell in grid(load_study(SMOKE)):
        directory = cell_directory(load_study(SMOKE), root / "out", cell)
        assert {path.name for path in directory.iterdir()} == {
            CELL,
            SUMS,
            "log.jsonl",
            "training",
        }
        assert (directory / "training" / "01-hybrid-log.jsonl").is_file()
        provenance = read_json(directory / "training" / "provenance.json")
        trained = provenance["config"]["stage"][1]
        assert (trained["alpha"], trained["batches"]) == (cell.alpha, cell.batches)
        assert trained["loss_temperature"] == cell.loss_temperature
        assert provenance["config"]["seed"] == cell.seed


def test_cells_of_a_seed_start_from_one_encoder_and_end_in_different_ones(root, finished):
    cells = {c.cell.id: c for c in finished_cells(load_study(SMOKE), root / "out")}
    first, second = cells["homogeneous-t0.05-a0-s1"], cells["homogeneous-t0.05-a1-s1"]
    assert first.document["retrieval"] != second.document["retrieval"]
    assert (root / "out" / "shared" / "seed-1" / "encoder").is_dir()


def test_a_cell_that_is_done_again_gives_the_same_numbers(root, finished, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(root / "out" / "shared", out / "shared")
    study = load_study(SMOKE)
    for cell in grid(study)[1:]:
        shutil.copytree(cell_directory(study, root / "out", cell), cell_directory(study, out, cell))
    first = grid(study)[0]
    assert unfinished(study, out) == [first]
    # What a killed process leaves: hits without the file that says that the cell is finished.
    half = cell_directory(study, out, first)
    half.mkdir(parents=True)
    (half / SUMS).write_bytes(b"half")
    run_study(places(root, out), StudyOptions(), progress=Progress(disable=True))
    assert unfinished(study, out) == []
    before = read_json(cell_directory(study, root / "out", first) / CELL)
    after = read_json(half / CELL)
    for key in ("retrieval", "calibration", "parameters"):
        assert before[key] == after[key]


def test_an_interrupted_study_says_how_to_go_on(root, finished, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(root / "out" / "shared", out / "shared")

    class Impatient(Progress):
        def update(self, *arguments, **fields):
            super().update(*arguments, **fields)
            if self.tasks[-1].description == "Cells":
                raise KeyboardInterrupt

    with pytest.raises(RunInterruptedError, match=r"1 of 18 cells finished. Run the same command"):
        run_study(places(root, out), StudyOptions(), progress=Impatient(disable=True))
    assert len(unfinished(load_study(SMOKE), out)) == 17


def test_the_report_can_be_written_again_and_is_the_same(root, finished, tmp_path):
    code, output = command(
        "--config", str(SMOKE), "--out", str(root / "out"), "--report", str(tmp_path / "report"),
        "--report-only",
    )  # fmt: skip
    assert code == 0, output
    for path in (root / "out" / "smoke" / "report").iterdir():
        assert (tmp_path / "report" / path.name).read_bytes() == path.read_bytes()


def test_a_report_of_some_cells_says_what_is_missing(root, finished, tmp_path):
    study = load_study(SMOKE)
    kept = [c for c in grid(study) if c.batches == "homogeneous" and c.seed == 1]
    for cell in kept:
        source = cell_directory(study, root / "out", cell)
        shutil.copytree(source, cell_directory(study, tmp_path, cell))
    verdicts = write_report(study, SMOKE, tmp_path, tmp_path / "report")
    assert "cells are missing" in verdicts
    assert "6 of 18" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")


def test_without_a_finished_cell_there_is_no_report(tmp_path):
    code, output = command("--config", str(SMOKE), "--out", str(tmp_path), "--report-only")
    assert code == 3
    assert "is finished: nothing to report" in output


def test_hybrid_batches_are_drawn_from_the_sources_that_the_study_names(root, finished):
    prepared = open_prepared(root / "out" / "prepared")
    study = load_study(SMOKE)
    assert len(for_seed(prepared, study, 5).pairs()) == len(prepared.pairs())
    assert for_seed(prepared, study, 5).config.seed == 5
    nothing = smaller(pairs=("another",))
    with pytest.raises(ConfigError, match="no pair of another"):
        for_seed(prepared, nothing, 5).pairs()


def test_prepared_data_of_another_run_are_refused(root, finished, tmp_path):
    text = (CONFIGS / "smoke.toml").read_text(encoding="utf-8")
    (tmp_path / "smoke.toml").write_text(text.replace("passage_chars = 320", "passage_chars = 99"))
    shutil.copy(SMOKE, tmp_path / "study.toml")
    there = Places(
        tmp_path / "study.toml", root / "data", root / "out" / "prepared", tmp_path, tmp_path
    )
    with pytest.raises(RunError, match="prepared with another 'data'"):
        run_study(there, StudyOptions(), progress=Progress(disable=True))


@pytest.mark.parametrize("name", ["all", "course", "mixed", "gentle", "smoke"])
def test_every_shipped_study_can_be_loaded(name):
    study = load_study(CONFIGS / f"study_{name}.toml")
    assert study.config.name == name
    assert len(study.config.seeds) >= 2
    sources = study.config.calibration.sources if study.config.calibration else ()
    assert all(source.path.split("/")[0] != study.config.evaluation.path for source in sources)


@pytest.mark.parametrize("name", ["course", "mixed"])
def test_the_full_grid_is_that_of_the_hypotheses(name):
    cells = grid(load_study(CONFIGS / f"study_{name}.toml"))
    assert len(cells) == len(set(cells)) == 45
    assert {cell.alpha for cell in cells} == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert sum(cell.loss_temperature == 0.1 for cell in cells) == 15
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)


def test_the_two_full_studies_differ_in_their_pairs_alone():
    course, mixed = (
        tomllib.loads((CONFIGS / f"study_{name}.toml").read_text(encoding="utf-8"))
        for name in ("course", "mixed")
    )
    assert {key for key in course | mixed if course.get(key) != mixed.get(key)} == {"name", "pairs"}


def test_what_licences_cost_is_measured_on_cells_of_the_mixed_study():
    mixed, everything = (load_study(CONFIGS / f"study_{name}.toml") for name in ("mixed", "all"))
    assert set(grid(everything)) < set(grid(mixed))
    for one, other in (
        (mixed.config.shared, everything.config.shared),
        (mixed.config.hybrid, everything.config.hybrid),
        (mixed.base.vocabulary, everything.base.vocabulary),
        (mixed.base.model, everything.base.model),
    ):
        assert one == other
    ours, theirs = ({source.label for source in s.base.data.sources} for s in (mixed, everything))
    assert theirs - ours == {
        "wmt-news/parallel",
        "xnli-15way/dev",
        "xnli-15way/test",
        "tquad/train.tr",
    }
    assert ours < theirs


def test_a_cell_is_named_by_its_place():
    assert Cell("mixed", 0.1, 0.25, 3).id == "mixed-t0.1-a0.25-s3"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("seeds = [1, 2]", "seeds = [1, 1]", "'seeds' names a value twice"),
        ("[[arm]]\nloss_temperature = 0.1", "[[arm]]\nloss_temperature = 0.05", "of its own"),
        ("replicates = 200", "replicate = 200", "replicate: Extra inputs"),
        ('pairs = ["course-sections/qa"]', 'pairs = ["nothing"]', "the sources of smoke.toml are"),
        ("alphas = [0.0, 0.5, 1.0]", "alphas = [0.0, 2.0]", "alphas.1"),
        ('name = "smoke"', "name = ", "is not valid TOML"),
    ],
)
def test_a_mistake_in_a_study_is_named(tmp_path, old, new, problem):
    text = SMOKE.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "study.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    shutil.copy(CONFIGS / "smoke.toml", tmp_path)
    with pytest.raises(ConfigError, match=problem):
        load_study(tmp_path / "study.toml")


def test_a_study_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"Cannot read the study .*none\.toml"):
        load_study(tmp_path / "none.toml")


def test_sums_are_small_and_finite_where_they_must_be(root, finished):
    for cell in finished_cells(load_study(SMOKE), root / "out"):
        assert np.isfinite(cell.sums["article split/count"]).all()
        assert cell.sums["article split/count"].sum() == 20 * 576
        assert cell.sums["retrieval/counts"].max() == 1
