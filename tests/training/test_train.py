import json
import shutil
import signal
from typing import Any

import numpy as np
import pytest
from rich.progress import Progress
from sentence_transformers import SentenceTransformer

from tests.training.conftest import LANGUAGES, STATIC_TOML, sentence
from tests.training.runs import ALIGN, HYBRID, Quiet, run, same_weights
from training.config import RunConfig, parse_config
from training.data_prepared import open_prepared
from training.encoder import static_module
from training.errors import RunError, RunInterruptedError
from training.prepare import prepare
from training.vocabulary import UNKNOWN_ID

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def finished(tmp_path_factory, static_config, prepared):
    root = tmp_path_factory.mktemp("runs") / "whole"
    run(static_config, prepared, root)
    return root


def test_a_finished_run_holds_an_encoder_its_log_and_no_checkpoint(finished):
    assert (finished / "encoder" / "modules.json").is_file()
    assert not list(finished.rglob("checkpoint-*"))
    lines = (finished / "stages" / "01-hybrid" / "log.jsonl").read_text().splitlines()
    assert {"hybrid", "contrast"} <= {key for line in lines for key in json.loads(line)}


def test_nothing_of_a_run_is_a_pickle(finished):
    assert not [p for p in finished.rglob("*") if p.suffix in {".bin", ".pt", ".pkl"}]


def test_provenance_says_what_the_encoder_was_made_from(finished, prepared):
    document = json.loads((finished / "provenance.json").read_text())
    assert document["licences"] == ["CC BY-SA 3.0", "CC BY-SA 4.0", "CC0", "MIT"]
    assert document["sources"] == prepared.manifest["sources"]
    assert document["config"]["seed"] == 7
    assert document["config"]["stage"][1]["alpha"] == 0.5
    assert [stage["name"] for stage in document["stages"]] == ["align", "hybrid"]
    assert {"torch", "sentence-transformers", "python"} <= document["versions"].keys()
    assert str(finished.parent) not in json.dumps(document)


def test_training_brings_translations_together(static_config, prepared, tmp_path):
    text = STATIC_TOML.replace("steps = 12", "steps = 60\nlearning_rate = 0.05")
    trained = SentenceTransformer(str(run(parse_config(text), prepared, tmp_path / "run")))
    english, german, russian = (
        trained.encode([sentence(language, topic, 900) for topic in range(40)])
        for language in LANGUAGES
    )
    for other in (german, russian):
        hits = (english @ other.T).argmax(axis=1) == np.arange(40)
        # By chance it would be one in forty.
        assert hits.mean() > 0.2


def test_the_unknown_token_is_still_zero_after_training(finished):
    table = static_module(SentenceTransformer(str(finished / "encoder"))).embedding.weight
    assert float(table[UNKNOWN_ID].detach().abs().max()) == 0.0
    assert float(table[UNKNOWN_ID + 1].detach().abs().max()) > 0.0


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    finished, static_config, prepared, data_root, tmp_path
):
    assert same_weights(run(static_config, prepared, tmp_path / "again"), finished / "encoder")
    changed = RunConfig.model_validate(static_config.model_dump() | {"seed": 8})
    prepare(changed, data_root, tmp_path / "prepared", progress=Progress(disable=True))
    shutil.copy(prepared.path / "tokenizer.json", tmp_path / "prepared" / "tokenizer.json")
    other = run(changed, open_prepared(tmp_path / "prepared"), tmp_path / "other")
    assert not same_weights(other, finished / "encoder")


@pytest.mark.parametrize(
    "stop_at",
    [(ALIGN, 5), (HYBRID, 7)],
    ids=["in the first stage", "in the second stage"],
)
def test_an_interrupted_run_resumes_to_the_very_same_weights(
    finished, static_config, prepared, tmp_path, stop_at
):
    root = tmp_path / "run"
    with pytest.raises(RunInterruptedError, match=f"after step {stop_at[1]} of 12.*--resume"):
        run(static_config, prepared, root, progress=Quiet(stop_at))
    assert not (root / "encoder").exists()
    assert same_weights(run(static_config, prepared, root, resume=True), finished / "encoder")


def test_a_checkpoint_that_was_cut_off_is_passed_over(finished, static_config, prepared, tmp_path):
    root = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        run(static_config, prepared, root, progress=Quiet((ALIGN, 5)))
    half = root / "stages" / "00-align" / "checkpoint-9"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert same_weights(run(static_config, prepared, root, resume=True), finished / "encoder")


def test_ctrl_c_is_given_back_after_the_run(finished):
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_directory_with_a_run_is_not_overwritten_by_accident(static_config, prepared, finished):
    with pytest.raises(RunError, match="--resume goes on with it, --force"):
        run(static_config, prepared, finished)


def test_resuming_with_another_configuration_is_refused(prepared, finished):
    other = parse_config(STATIC_TOML.replace("batch_size = 12", "batch_size = 13"))
    with pytest.raises(RunError, match="another configuration"):
        run(other, prepared, finished, resume=True)


def test_force_starts_again(static_config, prepared, tmp_path):
    root = tmp_path / "run"
    root.mkdir()
    (root / "run.json").write_text("{}")
    assert run(static_config, prepared, root, force=True).is_dir()


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("passage_chars = 200", "passage_chars = 150", "data"),
        ("size = 300", "size = 299", "vocabulary"),
        ("seed = 7", "seed = 9", "seed"),
        ("dim = 16", "dim = 16\nmax_length = 9", "model.max_length"),
    ],
)
def test_data_prepared_for_another_run_are_refused(prepared, tmp_path, old, new, name):
    with pytest.raises(RunError, match=f"another '{name}'"):
        run(parse_config(STATIC_TOML.replace(old, new, 1)), prepared, tmp_path / "run")


def test_what_only_training_reads_may_change_after_preparing(prepared, tmp_path):
    text = STATIC_TOML.replace('licence = "CC0"', 'licence = "CC0"\nshare = 2.0', 1)
    text = text.replace("steps = 12", "steps = 2")
    assert run(parse_config(text), prepared, tmp_path / "run").is_dir()


def test_a_run_without_a_stage_is_refused(prepared, tmp_path):
    text = STATIC_TOML.partition("[[stage]]")[0]
    with pytest.raises(RunError, match="no \\[\\[stage\\]\\]"):
        run(parse_config(text), prepared, tmp_path / "run")


def test_sparse_updates_train_too(prepared, tmp_path):
    text = STATIC_TOML.replace("steps = 12", 'steps = 4\noptimizer = "sparse_adam"')
    path = run(parse_config(text), prepared, tmp_path / "run")
    assert (path / "model.safetensors").is_file()


def teacher_toml(directory: Any, text: Any = STATIC_TOML) -> Any:
    return (
        text.replace("w_distill = 0.0", "w_distill = 1.0", 1)
        + f'\n[teacher]\nmodel = "{directory}"\nmax_length = 32\n'
    )


@pytest.fixture(scope="module")
def teacher_directory(tmp_path_factory, backbone):
    from training.config import TransformerModel
    from training.encoder import build_transformer

    target = tmp_path_factory.mktemp("teacher")
    model = TransformerModel(kind="transformer", base=str(backbone))
    build_transformer(model).save_pretrained(str(target), create_model_card=False)
    return target


@pytest.mark.parametrize("distill", ["contrastive", "cosine"])
def test_an_encoder_learns_from_its_teacher(prepared, tmp_path, teacher_directory, distill):
    text = teacher_toml(teacher_directory).replace("steps = 12", "steps = 80", 1)
    text = text.replace("w_distill = 1.0", f'w_distill = 1.0\ndistill = "{distill}"', 1)
    run(parse_config(text), prepared, tmp_path / "run")
    lines = (tmp_path / "run" / "stages" / "00-align" / "log.jsonl").read_text().splitlines()
    losses = [row["distill"] for row in map(json.loads, lines) if "distill" in row]
    assert losses[-1] < losses[0] * 0.9
    document = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert document["teacher"].endswith("-32")


TRANSFORMER = """kind = "transformer"
base = "{base}"
max_length = 32
query_prefix = "ask "
passage_prefix = "text "
"""


@pytest.fixture(scope="module")
def transformer_toml(backbone):
    text = STATIC_TOML.replace('kind = "static"\ndim = 16', TRANSFORMER.format(base=backbone))
    return text.replace("steps = 12", "steps = 6\nlearning_rate = 1e-3\nweight_decay = 0.01")


def test_a_transformer_trains_and_resumes_under_the_same_commands(
    transformer_toml, data_root, tmp_path
):
    config = parse_config(transformer_toml)
    prepare(config, data_root, tmp_path / "prepared", progress=Progress(disable=True))
    prepared = open_prepared(tmp_path / "prepared")
    whole = run(config, prepared, tmp_path / "whole")
    with pytest.raises(RunInterruptedError):
        run(config, prepared, tmp_path / "run", progress=Quiet((HYBRID, 3)))
    resumed = run(config, prepared, tmp_path / "run", resume=True)
    assert same_weights(whole, resumed)
    assert SentenceTransformer(str(whole)).prompts == {"query": "ask ", "document": "text "}
