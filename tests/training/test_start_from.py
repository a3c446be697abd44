"""``[model] start_from``, from prepared data to the export."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
from rich.progress import Progress
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from tests.training.conftest import LANGUAGES, STATIC_TOML, sentence
from tests.training.runs import ALIGN, HYBRID, Quiet, run, same_weights
from training.config import RunConfig, parse_config
from training.data_prepared import Prepared, open_prepared
from training.encoder import static_module
from training.errors import RunError, RunInterruptedError
from training.export import ExportOptions, export
from training.prepare import prepare

pytestmark = pytest.mark.training

TEXTS = [sentence(language, topic, 901) for language in LANGUAGES for topic in range(20)]


@pytest.fixture(scope="module")
def old(tmp_path_factory, static_config, prepared):
    """An encoder that was trained with another vocabulary."""
    return run(static_config, prepared, tmp_path_factory.mktemp("old") / "run")


@pytest.fixture(scope="module")
def config(old):
    """A run that starts from it, with more subwords and steps that hardly move anything."""
    text = STATIC_TOML.replace("size = 300", "size = 400")
    text = text.replace("dim = 16", f'dim = 16\nstart_from = "{old}"')
    return parse_config(text.replace("steps = 12", "steps = 4\nlearning_rate = 1e-6"))


@pytest.fixture(scope="module")
def larger(tmp_path_factory, data_root, config):
    target = tmp_path_factory.mktemp("larger") / "prepared"
    prepare(config, data_root, target, progress=Progress(disable=True))
    return open_prepared(target)


@pytest.fixture(scope="module")
def started(tmp_path_factory, config, larger):
    return run(config, larger, tmp_path_factory.mktemp("started") / "run")


def with_start(config: RunConfig, start: Any) -> RunConfig:
    text = None if start is None else str(start)
    return config.model_copy(update={"model": config.model.model_copy(update={"start_from": text})})


def vocabulary(prepared: Prepared) -> set[str]:
    return set(Tokenizer.from_file(str(prepared.path / "tokenizer.json")).get_vocab())


def vectors(encoder: Any) -> Any:
    return SentenceTransformer(str(encoder)).encode(TEXTS, normalize_embeddings=True)


def test_the_run_begins_with_the_vectors_of_the_old_encoder(
    old, started, config, larger, prepared, tmp_path
):
    assert vocabulary(larger) > vocabulary(prepared)
    assert (vectors(started) * vectors(old)).sum(axis=1).mean() > 0.99
    fresh = run(with_start(config, None), larger, tmp_path / "run")
    assert (vectors(fresh) * vectors(old)).sum(axis=1).mean() < 0.9


def test_provenance_names_the_old_weights_and_no_place(old, started):
    document = json.loads((started.parent / "provenance.json").read_text())
    assert document["base"]["name"] == document["config"]["model"]["start_from"] == "encoder"
    assert len(document["base"]["sha256"]) == 64
    assert str(old) not in json.dumps(document)


def test_its_export_is_served_like_any_other(started, tmp_path):
    parity = export(started.parent, tmp_path / "export", TEXTS, ExportOptions(weights="int8"))
    assert parity["int8"]["mean_cosine"] > 0.99
    spec = json.loads((tmp_path / "export" / "encoder_spec.json").read_text())
    assert (spec["base_model"], spec["dim"]) == ("static", 16)


def test_an_interrupted_run_resumes_to_the_same_weights(old, started, config, larger, tmp_path):
    mine = tmp_path / "encoder"
    shutil.copytree(old, mine)
    moved = with_start(config, mine)
    with pytest.raises(RunInterruptedError):
        run(moved, larger, tmp_path / "run", progress=Quiet((HYBRID, 2)))
    assert same_weights(run(moved, larger, tmp_path / "run", resume=True), started)


def test_another_encoder_in_its_place_is_noticed(old, config, larger, tmp_path):
    mine = tmp_path / "encoder"
    shutil.copytree(old, mine)
    moved = with_start(config, mine)
    with pytest.raises(RunInterruptedError):
        run(moved, larger, tmp_path / "run", progress=Quiet((ALIGN, 2)))
    encoder = SentenceTransformer(str(mine))
    static_module(encoder).embedding.weight.data += 0.5
    encoder.save_pretrained(str(mine), create_model_card=False)
    with pytest.raises(RunError, match="'encoder' has other weights than when the run was started"):
        run(moved, larger, tmp_path / "run", resume=True)
