"""The configurations at the scale of the paper run end to end with a backbone from a directory."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel
from typer.testing import CliRunner

from tests.training.conftest import STATIC_TOML
from training.cli import cli
from training.config import TransformerModel, load_config

pytestmark = pytest.mark.training

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


@pytest.fixture(scope="module")
def tiny_xlm_roberta(tmp_path_factory, prepared):
    """A random two-layer XLM-R with a unigram tokenizer for the tiny data."""
    target = tmp_path_factory.mktemp("backbone") / "tiny-xlm-r"
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(prepared.texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    ).save_pretrained(target)
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=258,
    )
    XLMRobertaModel(config).save_pretrained(target)
    return target


def tiny_form(path: Path) -> str:
    """The model and stage of a configuration as it is, on the tiny data and for a few steps."""
    text = path.read_text()
    data = STATIC_TOML[STATIC_TOML.index("[data]") : STATIC_TOML.index("[vocabulary]")]
    model = text[text.index("[model]") :]
    model = re.sub(r"steps = \d+", "steps = 4", model).replace("batch_size = 100", "batch_size = 8")
    model = model.replace("every = 250", "every = 2")
    return f'name = "tiny"\nlanguages = ["en", "de", "ru"]\nseed = 7\n\n{data}{model}'


def invoke(*arguments: Any) -> Any:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.mark.parametrize("name", ["xlm-roberta", "labse"])
def test_the_recipe_is_that_of_the_paper(name):
    config = load_config(CONFIGS / f"{name}.toml")
    (stage,) = config.stage
    assert (stage.batch_size, stage.learning_rate, stage.weight_decay) == (100, 3e-5, 1e-2)
    assert isinstance(config.model, TransformerModel)
    assert (config.model.query_prefix, config.model.passage_prefix) == ("Query: ", "Passage: ")
    assert stage.precision == "bfloat16"
    assert stage.early_stopping is not None


@pytest.mark.parametrize("name", ["xlm-roberta", "labse"])
def test_the_same_commands_train_a_backbone_from_a_directory(
    tmp_path, data_root, tiny_xlm_roberta, name
):
    config = tmp_path / f"{name}.toml"
    config.write_text(tiny_form(CONFIGS / f"{name}.toml"))
    prepared, out, exported = (tmp_path / step for step in ("prepared", "run", "export"))
    for arguments in (
        ("prepare", config, "--data-root", data_root, "--out", prepared),
        ("train", config, "--prepared", prepared, "--out", out, "--base", tiny_xlm_roberta),
        ("export", out, "--prepared", prepared, "--out", exported, "--parity-texts", 16),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 0, result.output
    assert json.loads((out / "run.json").read_text())["config"]["model"]["base"] == str(
        tiny_xlm_roberta
    )
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["base"]["name"] == provenance["config"]["model"]["base"] == "tiny-xlm-r"
    assert len(provenance["base"]["sha256"]) == 64
    assert str(tiny_xlm_roberta) not in json.dumps(provenance)
    spec = json.loads((exported / "encoder_spec.json").read_text())
    assert (spec["base_model"], spec["query_prefix"]) == ("tiny-xlm-r", "Query: ")
    assert (exported / "encoder" / "model_int8.onnx").is_file()
    assert SentenceTransformer(str(out / "encoder")).encode(["x"]).shape == (1, 16)
    refused = invoke("train", config, "--prepared", prepared, "--out", out, "--resume")
    assert refused.exit_code == 3
    assert "model.base, which --base replaces" in refused.stderr


def test_a_static_model_has_no_base_to_replace(tmp_path, prepared):
    config = tmp_path / "run.toml"
    config.write_text(STATIC_TOML)
    result = invoke(
        "train", config, "--prepared", prepared.path, "--out", tmp_path / "x", "--base", "y"
    )
    assert result.exit_code == 2
    assert "--base replaces [model] base, but the model is of kind 'static'" in result.stderr
