import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from rich.progress import Progress
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from app.core.encoder_spec import EncoderSpec
from tests.training.conftest import STATIC_TOML
from training.config import parse_config
from training.data_prepared import open_prepared
from training.errors import ParityError, PreparedDataError, RunError
from training.export import ExportOptions, export
from training.int8_table import unpack
from training.onnx_encoder import ExportedEncoder
from training.onnx_graph import static_graph
from training.prepare import prepare
from training.train import TrainOptions, train

pytestmark = pytest.mark.training


def short_run(text: Any, prepared: Any, root: Path) -> Any:
    text = text.replace("steps = 12", "steps = 3")
    options = TrainOptions(cache=root / "cache")
    train(parse_config(text), prepared, root / "run", options, progress=Progress(disable=True))
    return root / "run"


@pytest.fixture(scope="module")
def static_run(tmp_path_factory, prepared):
    return short_run(STATIC_TOML, prepared, tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="module")
def texts(prepared):
    return prepared.held_out_texts(40)


@pytest.fixture(scope="module")
def exported(static_run, texts):
    target = static_run.parent / "export"
    export(static_run, target, texts, ExportOptions())
    return target


def spec_of(directory: Any) -> Any:
    raw = json.loads((directory / "encoder_spec.json").read_text())
    return EncoderSpec(**{**raw, "languages": tuple(raw["languages"])})


def report_of(directory: Any) -> Any:
    return json.loads((directory / "export.json").read_text())


def test_an_export_holds_what_the_service_loads(exported):
    for name in (
        "encoder/tokenizer.json",
        "encoder/model.safetensors",
        "encoder/model.onnx",
        "encoder/model_int8.onnx",
        "encoder_spec.json",
        "provenance.json",
    ):
        assert (exported / name).is_file(), name


def test_the_contract_says_what_was_trained(exported):
    spec = spec_of(exported)
    assert (spec.name, spec.base_model, spec.dim) == ("tiny", "static", 16)
    assert (spec.pooling, spec.max_length, spec.normalize) == ("mean", 512, True)
    assert spec.languages == ("de", "en", "ru")
    assert len(spec.revision) == 64


def test_the_exported_encoder_loads_as_any_sentence_transformers_model(exported, static_run):
    found = SentenceTransformer(str(exported / "encoder")).encode(["bakoti ruru"])
    expected = SentenceTransformer(str(static_run / "encoder")).encode(["bakoti ruru"])
    np.testing.assert_array_equal(found, expected)


def test_parity_is_measured_for_both_graphs(exported, texts):
    report = report_of(exported)
    assert report["parity_texts"] == len(texts) == 40
    assert report["parity"]["float32"]["max_abs_diff_alone"] < 1e-5
    assert report["parity"]["float32"]["max_abs_diff_padded"] < 1e-5
    assert 0.999 < report["parity"]["int8"]["min_cosine"] <= 1.0001


def test_the_tokenizer_never_pads_and_reads_up_to_the_longest_length(exported):
    tokenizer = Tokenizer.from_file(str(exported / "encoder" / "tokenizer.json"))
    assert tokenizer.padding is None
    assert (tokenizer.truncation or {})["max_length"] == 512


def test_the_same_run_exports_the_same_revision_and_other_weights_another(
    exported, static_run, texts, tmp_path
):
    export(static_run, tmp_path / "same", texts, ExportOptions())
    export(static_run, tmp_path / "half", texts, ExportOptions(weights="float16"))
    assert asdict(spec_of(tmp_path / "same")) == asdict(spec_of(exported))
    assert spec_of(tmp_path / "half").revision != spec_of(exported).revision
    assert spec_of(tmp_path / "half").dtype == "float16"


def test_half_precision_weights_pass_their_own_tolerance(static_run, texts, tmp_path):
    parity = export(static_run, tmp_path / "half", texts, ExportOptions(weights="float16"))
    worst = max(v for k, v in parity["float32"].items() if k.startswith("max"))
    assert 0 < worst < 2e-3


@pytest.mark.parametrize("arithmetic", ["float32", "int8"])
def test_only_the_graphs_that_were_asked_for_are_written(static_run, texts, tmp_path, arithmetic):
    options = ExportOptions(arithmetic=(arithmetic,))
    assert list(export(static_run, tmp_path / "out", texts, options)) == [arithmetic]
    written = {p.name for p in (tmp_path / "out" / "encoder").glob("*.onnx")}
    assert written == {{"float32": "model.onnx", "int8": "model_int8.onnx"}[arithmetic]}


@pytest.mark.parametrize("arithmetic", ["float32", "int8"])
def test_a_graph_that_computes_something_else_is_not_exported(
    static_run, texts, tmp_path, monkeypatch, arithmetic
):
    def wrong(rows: Any, *scales: Any) -> Any:
        return static_graph(np.roll(rows, 1, axis=0), *scales)

    monkeypatch.setattr("training.export.static_graph", wrong)
    monkeypatch.setattr("training.export.share_table", lambda graph, weights: None)
    with pytest.raises(ParityError, match=arithmetic):
        export(static_run, tmp_path / "out", texts, ExportOptions(arithmetic=(arithmetic,)))
    assert not list(tmp_path.iterdir())


def test_a_graph_of_nans_is_not_exported(static_run, texts, tmp_path, monkeypatch):
    def broken(rows: Any) -> Any:
        return static_graph(np.full_like(rows, np.nan))

    monkeypatch.setattr("training.export.static_graph", broken)
    monkeypatch.setattr("training.export.share_table", lambda graph, weights: None)
    options = ExportOptions(arithmetic=("float32",))
    with pytest.raises(ParityError):
        export(static_run, tmp_path / "out", texts, options)


def test_the_graph_reads_the_table_that_the_weights_file_holds(exported):
    sizes = report_of(exported)["bytes"]
    assert sizes["encoder/model.onnx"] < 3000
    assert sizes["encoder/model.safetensors"] > 300 * 16


@pytest.fixture(scope="module")
def int8_weights(static_run, texts):
    target = static_run.parent / "int8"
    export(static_run, target, texts, ExportOptions(weights="int8"))
    return target


def test_int8_weights_are_stored_once_and_read_by_the_only_graph(int8_weights):
    report = report_of(int8_weights)
    assert list(report["parity"]) == ["int8"]
    assert report["parity"]["int8"]["mean_cosine"] > 0.995
    assert not (int8_weights / "encoder/model.onnx").exists()
    assert report["bytes"]["encoder/model_int8.onnx"] < 3000
    assert spec_of(int8_weights).dtype == "int8"


def test_an_unpacked_int8_encoder_loads_in_sentence_transformers_and_agrees(
    int8_weights, texts, tmp_path
):
    unpack(int8_weights / "encoder", tmp_path / "out")
    loaded = SentenceTransformer(str(tmp_path / "out"), local_files_only=True)
    served = ExportedEncoder(int8_weights).encode_passages(texts)
    np.testing.assert_allclose(loaded.encode(texts), served, atol=1e-5)


def test_an_encoder_with_float_weights_needs_no_unpacking(exported, tmp_path):
    with pytest.raises(RunError, match="sentence-transformers layout already"):
        unpack(exported / "encoder", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_not_finished_is_refused(texts, tmp_path):
    with pytest.raises(RunError, match="no finished run"):
        export(tmp_path, tmp_path / "out", texts, ExportOptions())


def test_parity_without_a_text_is_refused(static_run, tmp_path):
    with pytest.raises(RunError, match="held_out_share"):
        export(static_run, tmp_path / "out", [], ExportOptions())


def test_an_existing_export_is_kept_unless_force_is_given(exported, static_run, texts):
    with pytest.raises(PreparedDataError, match="--force"):
        export(static_run, exported, texts, ExportOptions())


@pytest.fixture(scope="module")
def transformer_run(tmp_path_factory, data_root, backbone):
    """A finished run, and held-out texts."""
    root = tmp_path_factory.mktemp("transformer")
    text = STATIC_TOML.replace(
        'kind = "static"\ndim = 16',
        f'kind = "transformer"\nbase = "{backbone}"\nmax_length = 24\n'
        'query_prefix = "ask "\npassage_prefix = "text "',
    )
    target = root / "prepared"
    prepare(parse_config(text), data_root, target, progress=Progress(disable=True))
    prepared = open_prepared(target)
    return short_run(text, prepared, root), prepared.held_out_texts(40)


@pytest.fixture(scope="module")
def transformer_export(transformer_run):
    run, texts = transformer_run
    export(run, run.parent / "export", texts, ExportOptions())
    return run.parent / "export"


def test_a_transformer_exports_under_the_same_contract(transformer_export, backbone):
    spec = spec_of(transformer_export)
    assert (spec.base_model, spec.dim, spec.max_length) == (backbone.name, 16, 24)
    assert (spec.query_prefix, spec.passage_prefix) == ("ask ", "text ")
    assert str(backbone.parent) not in (transformer_export / "encoder_spec.json").read_text()
    tokenizer = Tokenizer.from_file(str(transformer_export / "encoder" / "tokenizer.json"))
    assert tokenizer.padding is None
    assert (tokenizer.truncation or {})["max_length"] == 24


def test_everybody_can_read_what_was_exported(exported):
    assert {p.stat().st_mode & 0o777 for p in exported.rglob("*") if p.is_file()} == {0o644}


def test_int8_falls_back_to_float_activations_where_they_lose_too_much(
    transformer_run, tmp_path, monkeypatch
):
    run, texts = transformer_run
    options = ExportOptions(arithmetic=("int8",))
    export(run, tmp_path / "both", texts, options)
    assert report_of(tmp_path / "both")["int8"] == "weights and activations"
    # A demand that no graph meets, for the choice alone; the judgement keeps its own.
    monkeypatch.setattr("training.export.INT8_COSINE", 2.0)
    parity = export(run, tmp_path / "weights", texts, options)
    assert report_of(tmp_path / "weights")["int8"] == "weights"
    assert parity["int8"]["min_cosine"] > 0.999
    kinds = [
        {node.op_type for node in onnx.load(tmp_path / name / "encoder/model_int8.onnx").graph.node}
        for name in ("both", "weights")
    ]
    assert ["MatMulInteger" in kind for kind in kinds] == [True, False]


def test_int8_weights_of_a_transformer_are_refused(transformer_run, tmp_path):
    run, texts = transformer_run
    with pytest.raises(RunError, match="for static encoders"):
        export(run, tmp_path / "out", texts, ExportOptions(weights="int8"))


def test_a_transformer_exports_in_half_precision_too(transformer_run, tmp_path):
    run, texts = transformer_run
    options = ExportOptions(weights="float16", arithmetic=("float32",))
    parity = export(run, tmp_path / "half", texts, options)
    assert 0 < parity["float32"]["max_abs_diff_padded"] < 2e-3


def test_a_transformer_graph_computes_what_torch_does_at_every_length(transformer_export):
    parity = report_of(transformer_export)["parity"]
    assert parity["float32"]["max_abs_diff_alone"] < 1e-5
    assert parity["float32"]["max_abs_diff_padded"] < 1e-5
    assert parity["int8"]["mean_cosine"] > 0.995
