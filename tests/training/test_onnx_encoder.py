import json
import shutil

import numpy as np
import pytest

from app.core.errors import BundleError, UnencodableTextError
from tests.bundles import tiny_spec
from tests.training.exports import write_tiny_export
from training.onnx_encoder import ONNX_FILES, SPEC_FILE, ExportedEncoder, read_spec

pytestmark = pytest.mark.training

TEXTS = [
    "water flows",
    "a much longer text about the house and the water of the river",
    "der Fluss",
]


@pytest.fixture
def export(tmp_path):
    return write_tiny_export(tmp_path / "export")


def test_the_contract_is_read_back(export):
    assert read_spec(export) == tiny_spec()


def test_vectors_have_norm_one_and_do_not_depend_on_the_batch(export):
    encoder = ExportedEncoder(export, "float32")
    together = encoder.encode_passages(TEXTS)
    alone = np.concatenate([encoder.encode_passages([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    assert together.dtype == np.float32


def test_a_text_without_known_tokens_is_refused(export):
    with pytest.raises(UnencodableTextError, match="Text 2 of 2"):
        ExportedEncoder(export, "float32").encode_queries(["the sea", ""])


def test_the_graph_that_is_served_is_the_default(export):
    assert ExportedEncoder(export).arithmetic == "float32"
    shutil.copyfile(export / ONNX_FILES["float32"], export / ONNX_FILES["int8"])
    assert ExportedEncoder(export).arithmetic == "int8"


def test_arithmetic_that_was_not_exported_is_named(export):
    with pytest.raises(BundleError, match=r"model_int8\.onnx"):
        ExportedEncoder(export, "int8")


@pytest.mark.parametrize("text", ["", "[]", '{"name": "x"}', '{"colour": 1}'])
def test_what_is_no_contract_is_refused(export, text):
    (export / SPEC_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match="encoder_spec"):
        read_spec(export)


def test_an_unknown_member_of_the_contract_is_named(export):
    content = {**tiny_spec().to_json(), "colour": 1}
    (export / SPEC_FILE).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BundleError, match="colour"):
        read_spec(export)
