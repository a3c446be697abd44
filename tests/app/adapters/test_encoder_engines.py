from dataclasses import replace

import numpy as np
import pytest

from app.adapters.encoders import engines as encoder_engines
from app.adapters.encoders.engines import open_encoder
from app.adapters.encoders.onnx_encoder import OnnxEncoder
from app.core.bundle import Bundle, load_bundle
from app.core.errors import BundleError
from tests.bundles import write_tiny_bundle


@pytest.fixture
def bundle(tmp_path):
    return load_bundle(write_tiny_bundle(tmp_path / "bundle"))


def carrying(bundle: Bundle, *arithmetics: str) -> Bundle:
    """The bundle with the graph it has under other names; all compute the same."""
    [path] = bundle.manifest.onnx.values()
    onnx = dict.fromkeys(arithmetics, path)
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"onnx": onnx}))


def with_weights(bundle: Bundle) -> Bundle:
    files = {**bundle.manifest.files, "encoder/config.json": "", "encoder/model.safetensors": ""}
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"files": files}))


def test_the_only_graph_is_taken_without_measuring(bundle, monkeypatch):
    monkeypatch.setattr(encoder_engines, "_seconds_of_a_pass", pytest.fail)
    assert open_encoder(bundle, threads=1).engine == "onnx-float32"


@pytest.mark.parametrize("faster", ["onnx-int8", "onnx-float32"])
def test_the_faster_graph_is_taken(bundle, monkeypatch, faster):
    seconds = {"onnx-int8": 2.0, "onnx-float32": 2.0, faster: 1.0}
    monkeypatch.setattr(encoder_engines, "_seconds_of_a_pass", lambda e: seconds[e.engine])
    assert open_encoder(carrying(bundle, "int8", "float32"), threads=1).engine == faster


def test_graphs_are_measured_by_their_passes(bundle):
    encoder = open_encoder(carrying(bundle, "int8", "float32"), threads=1)
    assert encoder.engine in {"onnx-int8", "onnx-float32"}
    assert np.linalg.norm(encoder.encode_queries(["water"])) == pytest.approx(1.0)


def test_an_arithmetic_may_be_asked_for(bundle):
    both = carrying(bundle, "int8", "float32")
    assert open_encoder(both, engine="int8", threads=1).engine == "onnx-int8"
    with pytest.raises(BundleError, match="float32 arithmetic, not int8"):
        open_encoder(bundle, engine="int8", threads=1)


def test_torch_is_refused_for_what_has_no_weights(bundle):
    with pytest.raises(BundleError, match="no transformers weights"):
        open_encoder(bundle, engine="torch", threads=1)


def test_torch_is_refused_where_it_is_not_installed(bundle, monkeypatch):
    monkeypatch.setattr(encoder_engines, "find_spec", lambda name: None)
    with pytest.raises(BundleError, match=r"pip install '\.\[gpu\]'"):
        open_encoder(with_weights(bundle), engine="torch", threads=1)


def test_without_torch_the_graph_serves(bundle, monkeypatch):
    monkeypatch.setattr(encoder_engines, "find_spec", lambda name: None)
    assert isinstance(open_encoder(with_weights(bundle), threads=1), OnnxEncoder)
