import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # it ships no types
    EventAccumulator,
)

from tests.training.conftest import STATIC_TOML, word, write_lines
from tests.training.runs import HYBRID, Quiet, run, same_weights
from tests.training.sets import parallel_set, write_set
from training.config import EarlyStopping, RunConfig, parse_config
from training.data_prepared import open_prepared
from training.development import Gauge
from training.development_set import development_set
from training.encoder import load_encoder
from training.errors import ConfigError, DataError, RunError, RunInterruptedError
from training.prepare import prepare

pytestmark = pytest.mark.training

# A stage that cannot learn: what it starts from stays the best.
FROZEN = "learning_rate = 1e-30\n"


def toml(table: str, stage: str = "") -> str:
    """The configuration with early stopping in its second stage."""
    begin, _, end = STATIC_TOML.rpartition("[stage.align]")
    return f"{begin}{stage}[stage.early_stopping]\n{table}\n\n[stage.align]{end}"


def stage_facts(root: Path) -> Any:
    return json.loads((root / "provenance.json").read_text())["stages"][1]


def logged(root: Path) -> Any:
    lines = (root / "stages" / "01-hybrid" / "log.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if "dev/multi/map" in row]


def early_stopping(config: RunConfig) -> EarlyStopping:
    settings = config.stage[1].early_stopping
    assert settings is not None
    return settings


LEARNS = parse_config(toml("every = 3\npatience = 3", "learning_rate = 0.05\n"))


@pytest.fixture(scope="module")
def learned(tmp_path_factory, prepared):
    root = tmp_path_factory.mktemp("runs") / "whole"
    run(LEARNS, prepared, root, tensorboard=True)
    return root


def test_the_encoder_that_is_left_is_the_best_of_those_that_were_measured(learned, prepared):
    facts = stage_facts(learned)["development"]
    measured = {row["step"]: row["dev/multi/map"] for row in logged(learned)}
    assert list(measured) == [0, 3, 6, 9, 12]
    assert facts["best"] == max(measured.values()) == measured[facts["best_step"]]
    assert facts["best"] > measured[0]
    settings = early_stopping(LEARNS)
    development = development_set(settings, LEARNS, prepared, learned)
    encoder = load_encoder(learned / "encoder")
    gauge = Gauge(encoder, development, {"query": "", "passage": ""}, Progress(disable=True))
    # Not equal bit by bit: a loaded table takes the mean of the rows where training takes the sum.
    assert gauge()["multi/map"] == pytest.approx(facts["best"], abs=0.02)


def test_the_provenance_names_the_set_by_its_digest(learned, prepared):
    facts = stage_facts(learned)["development"]
    held_out = (prepared.path / "held_out" / "pairs.jsonl.gz").read_bytes()
    assert facts["sha256"] == hashlib.sha256(held_out).hexdigest()
    assert (facts["name"], facts["metric"]) == ("held out by prepare", "multi/map")
    assert facts["languages"] == ["de", "en", "ru"]


def test_tensorboard_shows_losses_rate_gradient_and_development(learned):
    board = EventAccumulator(str(learned / "tensorboard" / "01-hybrid")).Reload()
    names = set(board.Tags()["scalars"])
    assert {"loss", "contrast", "hybrid", "learning_rate", "grad_norm", "dev/multi/map"} <= names


def test_a_stage_that_does_not_get_better_ends_when_patience_is_over(prepared, tmp_path):
    root = tmp_path / "run"
    run(parse_config(toml("every = 2\npatience = 2", FROZEN)), prepared, root)
    assert [row["step"] for row in logged(root)] == [0, 2, 4]
    facts = stage_facts(root)["development"]
    assert (facts["best_step"], facts["last_step"], facts["stopped_early"]) == (0, 4, True)
    assert same_weights(root / "encoder", root / "stages" / "00-align" / "encoder")


@pytest.mark.parametrize("stop_at", [4, 7])
def test_an_interrupted_stage_ends_with_the_best_weights_of_an_uninterrupted_one(
    learned, prepared, tmp_path, stop_at
):
    root = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        run(LEARNS, prepared, root, progress=Quiet((HYBRID, stop_at)))
    run(LEARNS, prepared, root, resume=True)
    assert same_weights(root / "encoder", learned / "encoder")
    assert stage_facts(root)["development"] == stage_facts(learned)["development"]
    assert logged(root) == logged(learned)


def test_a_stage_that_was_interrupted_when_its_patience_ended_is_not_trained_on(prepared, tmp_path):
    config = parse_config(toml("every = 2\npatience = 2", FROZEN))
    root = tmp_path / "run"
    with pytest.raises(RunInterruptedError, match="after step 4 of 12"):
        run(config, prepared, root, progress=Quiet((HYBRID, 4)))
    run(config, prepared, root, resume=True)
    assert stage_facts(root)["development"]["last_step"] == 4
    assert same_weights(root / "encoder", root / "stages" / "00-align" / "encoder")


def test_translations_of_a_question_are_relevant_for_each_other(prepared, data_root):
    settings = early_stopping(parse_config(toml("cap = 3")))
    data = development_set(settings, LEARNS, prepared, data_root).data
    shared = [r for r, q in zip(data.relevant, data.queries, strict=True) if "guide" in q.cluster]
    assert shared
    for rows in shared:
        assert sorted(data.passages[row].language for row in rows) == ["de", "en", "ru"]


def test_a_cap_keeps_so_many_rows_of_every_language_and_a_few_more(prepared, data_root):
    settings = early_stopping(parse_config(toml("cap = 3")))
    data = development_set(settings, LEARNS, prepared, data_root).data
    languages = data.query_languages.tolist()
    assert languages.count("de") == languages.count("ru") == 3
    # English has a source of its own beside the translations.
    assert 3 <= languages.count("en") <= 6


def rows(topics: range) -> Any:
    return (
        {"id": f"d{t}", "lang": code, "question": word(code, t), "passage": f"{word(code, t)} x."}
        for t in topics
        for code in ("en", "de")
    )


def test_a_file_of_questions_can_be_the_set(prepared, tmp_path):
    write_lines(tmp_path / "dev.jsonl", rows(range(5)))
    for shared, answers in ((True, 2), (False, 1)):
        table = f'set = "dev.jsonl"\nshared_ids = {str(shared).lower()}'
        settings = early_stopping(parse_config(toml(table)))
        found = development_set(settings, LEARNS, prepared, tmp_path)
        assert len(found.data.queries) == 10
        assert {len(rows) for rows in found.data.relevant} == {answers}


def test_a_retrieval_set_can_be_the_set_and_its_absence_of_a_metric_is_told(prepared, tmp_path):
    write_set(tmp_path / "small", parallel_set(languages=("en",)))
    config = parse_config(toml('set = "small"\nmetric = "cross/map"'))
    with pytest.raises(RunError, match=r"'small' has no 'cross/map'.*It has: .*mono/map"):
        run(config, prepared, tmp_path / "run", data_root=tmp_path)


def test_a_run_whose_development_set_has_changed_is_not_resumed(prepared, tmp_path):
    write_lines(tmp_path / "dev.jsonl", rows(range(5)))
    config = parse_config(toml('set = "dev.jsonl"'))
    with pytest.raises(RunInterruptedError):
        run(config, prepared, tmp_path / "run", data_root=tmp_path, progress=Quiet((HYBRID, 1)))
    write_lines(tmp_path / "dev.jsonl", rows(range(6)))
    with pytest.raises(RunError, match="development_sha256"):
        run(config, prepared, tmp_path / "run", data_root=tmp_path, resume=True)


@pytest.mark.parametrize("name", ["questions.en.jsonl", "elsewhere.jsonl", "folder"])
def test_a_training_source_is_refused_whatever_its_name(prepared, data_root, tmp_path, name):
    shutil.copytree(data_root, tmp_path / "data")
    source = tmp_path / "data" / "questions.en.jsonl"
    shutil.copy(source, tmp_path / "data" / "elsewhere.jsonl")
    (tmp_path / "data" / "folder").mkdir()
    shutil.copy(source, tmp_path / "data" / "folder" / "passages.jsonl")
    config = parse_config(toml(f'set = "{name}"'))
    with pytest.raises(ConfigError, match=r"is the training source 'questions\.en'"):
        run(config, prepared, tmp_path / "run", data_root=tmp_path / "data")
    assert not (tmp_path / "run").exists()


def test_a_set_that_is_not_there_is_told_by_its_path(prepared, tmp_path):
    with pytest.raises(DataError, match=r"absent\.jsonl"):
        run(
            parse_config(toml('set = "absent.jsonl"')), prepared, tmp_path / "r", data_root=tmp_path
        )


def test_without_held_out_rows_a_set_must_be_named(data_root, tmp_path):
    config = parse_config(toml("every = 2").replace("held_out_share = 0.2", "held_out_share = 0.0"))
    prepare(config, data_root, tmp_path / "prepared", progress=Progress(disable=True))
    with pytest.raises(RunError, match="held out no question-passage row"):
        run(config, open_prepared(tmp_path / "prepared"), tmp_path / "run")
