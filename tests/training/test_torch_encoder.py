"""The encoder of the GPU, here on the CPU, beside the graph that is served without one."""

import json
from typing import Literal

import numpy as np
import pytest
import torch

from app.adapters.encoders import torch_encoder
from app.adapters.encoders.cuda_graphs import CudaGraphs, padded_rows
from app.adapters.encoders.engines import open_encoder
from app.adapters.encoders.onnx_encoder import OnnxEncoder
from app.adapters.encoders.torch_encoder import TorchEncoder
from app.core.bundle import load_bundle, write_manifest
from app.core.encoder_spec import EncoderSpec
from app.core.errors import BundleError, EncodingError
from training.config import TransformerModel
from training.encoder import build_transformer
from training.onnx_graph import write_transformer_graph

pytestmark = pytest.mark.training

TEXTS = ["water", "the house by the water of the river", "der Fluss", "water " * 40]


def spec(pooling: Literal["mean", "cls"]) -> EncoderSpec:
    return EncoderSpec(
        name="tiny", base_model="bert", revision="0", dim=16, pooling=pooling, max_length=32,
        languages=("de", "en"), query_prefix="the ",
    )  # fmt: skip


@pytest.fixture(params=["mean", "cls"])
def exported(request, backbone, tmp_path):
    """A bundle of a random backbone."""
    model = TransformerModel(
        kind="transformer", base=str(backbone), pooling=request.param, max_length=32
    )
    encoder = build_transformer(model).eval()
    directory = tmp_path / "bundle"
    encoder.save(str(directory / "encoder"))
    write_transformer_graph(encoder, directory / "encoder" / "model.onnx")
    write_manifest(
        directory,
        name="tiny",
        encoder=spec(request.param),
        onnx={"float32": "encoder/model.onnx"},
        training={},
    )
    return load_bundle(directory)


def test_torch_and_the_graph_compute_the_same(exported):
    on_torch = open_encoder(exported, engine="torch", threads=1)
    graph = OnnxEncoder(exported.spec, exported.onnx_path(), exported.tokenizer_path, threads=1)
    assert on_torch.engine == f"torch-{'cuda' if torch.cuda.is_available() else 'cpu'}"
    for encode in ("encode_queries", "encode_passages"):
        np.testing.assert_allclose(
            getattr(on_torch, encode)(TEXTS), getattr(graph, encode)(TEXTS), atol=2e-5
        )
    assert on_torch.count_tokens(TEXTS) == graph.count_tokens(TEXTS)


def test_padding_to_a_step_changes_nothing(exported, monkeypatch):
    directory = exported.directory / "encoder"
    padded = TorchEncoder(exported.spec, directory, device="cpu").encode_passages(TEXTS)
    monkeypatch.setattr(torch_encoder, "LENGTH_STEP", 1)
    bare = TorchEncoder(exported.spec, directory, device="cpu").encode_passages(TEXTS)
    np.testing.assert_allclose(padded, bare, atol=1e-5)


def test_auto_takes_torch_only_where_there_is_a_gpu(exported, monkeypatch):
    monkeypatch.setattr(torch_encoder, "has_gpu", lambda: False)
    assert open_encoder(exported, threads=1).engine == "onnx-float32"
    monkeypatch.setattr(torch_encoder, "has_gpu", lambda: True)
    assert open_encoder(exported, threads=1).engine.startswith("torch")


def test_a_failing_pass_says_which_batch(exported, monkeypatch):
    encoder = TorchEncoder(exported.spec, exported.directory / "encoder", device="cpu")

    def fail(*_):
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(encoder, "_embed", fail)
    with pytest.raises(EncodingError, match=r"\(1, 16\).*CUDA error"):
        encoder.encode_queries(["water"])


def test_a_pass_without_memory_says_so_to_who_can_make_it_smaller(exported, monkeypatch):
    encoder = TorchEncoder(exported.spec, exported.directory / "encoder", device="cpu")

    def out_of_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(encoder, "_embed", out_of_memory)
    with pytest.raises(MemoryError, match="out of memory"):
        encoder.encode_queries(["water"])


def test_what_is_no_such_encoder_is_refused(exported):
    directory = exported.directory / "encoder"
    (directory / "model.safetensors").unlink()
    with pytest.raises(BundleError, match="cannot be loaded by transformers"):
        TorchEncoder(exported.spec, directory)
    modules = json.loads((directory / "modules.json").read_text())
    (directory / "modules.json").write_text(
        json.dumps([*modules, {"type": "sentence_transformers.models.Dense"}])
    )
    with pytest.raises(BundleError, match="Dense; torch serves"):
        TorchEncoder(exported.spec, directory)
    (directory / "modules.json").unlink()
    with pytest.raises(BundleError, match=r"modules\.json cannot be read"):
        TorchEncoder(exported.spec, directory)


def test_a_recorded_pass_has_the_fewest_rows_that_hold_a_batch():
    assert [padded_rows(rows) for rows in (1, 2, 3, 9, 64)] == [1, 2, 4, 16, 64]
    assert CudaGraphs.fits(64, 64)
    assert not CudaGraphs.fits(65, 16)
    assert not CudaGraphs.fits(1, 80)


def test_a_backbone_that_cannot_be_recorded_is_served_without_graphs(exported, monkeypatch, caplog):
    encoder = TorchEncoder(exported.spec, exported.directory / "encoder", device="cpu")

    def fail(*_):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch_encoder, "CudaGraphs", fail)
    assert encoder._open_graphs() is None
    assert "without CUDA graphs" in caplog.text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_replayed_pass_computes_what_it_recorded(exported):
    directory = exported.directory / "encoder"
    replayed = TorchEncoder(exported.spec, directory, device="cuda")
    launched = TorchEncoder(exported.spec, directory, device="cuda", graphs=False)
    for texts in (TEXTS, TEXTS[:1], TEXTS[1:], TEXTS * 20):
        np.testing.assert_allclose(
            replayed.encode_queries(texts), launched.encode_queries(texts), atol=2e-2
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_bfloat16_on_a_gpu_ranks_like_float32(exported):
    directory = exported.directory / "encoder"
    on_gpu = TorchEncoder(exported.spec, directory, device="cuda").encode_passages(TEXTS)
    on_cpu = TorchEncoder(exported.spec, directory, device="cpu").encode_passages(TEXTS)
    assert np.sum(on_gpu * on_cpu, axis=1).min() > 0.999
