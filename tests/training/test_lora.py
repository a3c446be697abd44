import sys
from typing import Any

import numpy as np
import pytest
import torch
from rich.progress import Progress
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from tests.training.conftest import STATIC_TOML
from tests.training.runs import HYBRID, Quiet, run, same_weights
from training.config import LoraConfig, TransformerModel, parse_config
from training.data_prepared import open_prepared
from training.encoder import build_transformer
from training.errors import RunError, RunInterruptedError
from training.lora import Adapters
from training.prepare import prepare

pytestmark = pytest.mark.training

TEXTS = ["bakoti", "ruru mesol vendada", "schu ör"]


@pytest.fixture
def encoder(backbone):
    return build_transformer(TransformerModel(kind="transformer", base=str(backbone)))


def disturb(encoder: SentenceTransformer) -> None:
    """Move every weight that training would move."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def test_only_adapters_are_trained_and_at_first_they_change_nothing(encoder):
    before = encoder.encode(TEXTS)
    Adapters(encoder, LoraConfig(rank=2))
    trained = [name for name, p in encoder.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    np.testing.assert_allclose(encoder.encode(TEXTS), before, atol=1e-6)


def test_merged_adapters_leave_a_plain_encoder_that_computes_the_same(encoder, tmp_path):
    names, start = list(encoder.state_dict()), encoder.encode(TEXTS)
    adapters = Adapters(encoder, LoraConfig(rank=2, target_modules=("query", "dense")))
    disturb(encoder)
    adapted = encoder.encode(TEXTS)
    assert np.abs(adapted - start).max() > 0.01
    adapters.merge()
    assert list(encoder.state_dict()) == names
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    encoder.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    assert not list((tmp_path / "saved").rglob("adapter*"))
    saved = SentenceTransformer(str(tmp_path / "saved"))
    np.testing.assert_allclose(saved.encode(TEXTS), adapted, atol=1e-5)


def test_recomputed_activations_give_adapters_the_same_gradient(backbone):
    def gradient(checkpointing: bool) -> Any:
        model = TransformerModel(
            kind="transformer", base=str(backbone), gradient_checkpointing=checkpointing
        )
        encoder = build_transformer(model)
        torch.manual_seed(0)
        Adapters(encoder, LoraConfig(rank=2))
        disturb(encoder)
        encoder.train()
        for module in encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        features = encoder.preprocess(TEXTS)
        encoder(dict(features))["sentence_embedding"][:, 0].sum().backward()
        return [p.grad for p in encoder.parameters() if p.requires_grad]

    plain, recomputed = gradient(False), gradient(True)
    assert any(float(g.abs().max()) > 0 for g in plain)
    for one, other in zip(plain, recomputed, strict=True):
        torch.testing.assert_close(one, other)


def test_layers_that_the_backbone_does_not_have_are_told(encoder):
    with pytest.raises(RunError, match=r"do not fit this backbone.*target_modules"):
        Adapters(encoder, LoraConfig(target_modules=("no_such_layer",)))


def test_without_peft_the_extra_that_has_it_is_named(encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(RunError, match=r"'peft', which is not installed.*\n.*\.\[training\]"):
        Adapters(encoder, LoraConfig())


LORA = """kind = "transformer"
base = "{base}"
max_length = 32

[model.lora]
rank = 2
dropout = 0.1
"""


@pytest.fixture(scope="module")
def lora_run(tmp_path_factory, backbone, data_root):
    text = STATIC_TOML.replace('kind = "static"\ndim = 16', LORA.format(base=backbone))
    config = parse_config(text.replace("steps = 12", "steps = 4\nlearning_rate = 1e-2"))
    root = tmp_path_factory.mktemp("lora")
    prepare(config, data_root, root / "prepared", progress=Progress(disable=True))
    prepared = open_prepared(root / "prepared")
    return config, prepared, run(config, prepared, root / "run")


def test_a_run_with_adapters_ends_in_a_plain_encoder_whose_other_weights_are_the_backbones(
    lora_run, backbone
):
    _, _, trained = lora_run
    before, after = (
        load_file(backbone / "model.safetensors"),
        load_file(trained / "model.safetensors"),
    )
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved
    assert all("query" in name or "value" in name for name in moved)


def test_an_interrupted_run_with_adapters_resumes_to_the_same_weights_from_small_checkpoints(
    lora_run, tmp_path
):
    config, prepared, whole = lora_run
    with pytest.raises(RunInterruptedError):
        run(config, prepared, tmp_path / "run", progress=Quiet((HYBRID, 2)))
    for path in (tmp_path / "run").rglob("checkpoint-*/model.safetensors"):
        assert all("lora_" in name for name in load_file(path))
    assert same_weights(run(config, prepared, tmp_path / "run", resume=True), whole)
