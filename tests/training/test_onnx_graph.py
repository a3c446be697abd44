from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from training.int8_table import quantize_rows
from training.onnx_graph import INPUTS, OUTPUT, static_graph

pytestmark = pytest.mark.training


def session_of(*stored: Any, pooling: Any = "mean") -> Any:
    graph = static_graph(*stored, pooling=pooling)
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def run(session: Any, ids: Any, mask: Any = None) -> Any:
    ids = np.array(ids, np.int64)
    mask = np.ones_like(ids) if mask is None else np.array(mask, np.int64)
    return session.run([OUTPUT], {"input_ids": ids, "attention_mask": mask})[0]


def random_table(n: int = 50, dim: int = 8) -> Any:
    return np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)


def test_the_graph_keeps_the_contract_of_names_types_and_shapes():
    session = session_of(random_table())
    found = [(i.name, i.type, i.shape) for i in session.get_inputs()]
    assert found == [(name, "tensor(int64)", ["batch", "sequence"]) for name in INPUTS]
    (output,) = session.get_outputs()
    assert (output.name, output.type, output.shape) == (OUTPUT, "tensor(float)", ["batch", 8])


def test_the_graph_is_the_normalised_mean_that_embedding_bag_computes():
    table = random_table()
    ids = np.random.default_rng(1).integers(0, 50, (7, 9))
    bag = torch.nn.EmbeddingBag.from_pretrained(torch.from_numpy(table), mode="mean")
    expected = torch.nn.functional.normalize(bag(torch.from_numpy(ids)), dim=1).numpy()
    np.testing.assert_allclose(run(session_of(table), ids), expected, atol=1e-6)


def in_float(table: Any) -> tuple[Any, ...]:
    return (table,)


@pytest.mark.parametrize("form", [in_float, quantize_rows])
def test_sublinear_pooling_counts_a_token_that_stands_n_times_as_its_root(form):
    table = random_table()
    stored = form(table)
    rows = table if len(stored) == 1 else stored[0] * stored[1][:, None]
    # The padding is the token that is repeated, and does not count.
    ids, mask = [[3, 7, 3, 3, 3, 3], [7, 7, 9, 0, 0, 0]], [[1] * 5 + [0], [1] * 3 + [0] * 3]
    expected = np.stack([2 * rows[3] + rows[7], np.sqrt(2) * rows[7] + rows[9]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = run(session_of(*stored, pooling="sublinear"), ids, mask)
    np.testing.assert_allclose(found, expected, atol=1e-6)


POOLINGS = pytest.mark.parametrize("pooling", ["mean", "sublinear"])


@POOLINGS
@pytest.mark.parametrize("form", [in_float, quantize_rows])
def test_padding_changes_nothing_whatever_token_it_is(form, pooling):
    session = session_of(*form(random_table()), pooling=pooling)
    alone = run(session, [[3, 4]])
    padded = run(session, [[3, 4, 9, 0], [1, 2, 3, 4]], [[1, 1, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_allclose(padded[0], alone[0], atol=1e-6)


@POOLINGS
@pytest.mark.parametrize("form", [in_float, quantize_rows])
def test_a_text_without_a_token_is_the_zero_vector_and_never_nan(form, pooling):
    session = session_of(*form(random_table()), pooling=pooling)
    assert run(session, [[0, 0]], [[0, 0]]).tolist() == [[0.0] * 8]
    assert run(session, np.empty((1, 0))).tolist() == [[0.0] * 8]


def test_half_precision_halves_the_graph_and_stays_near():
    table = random_table(500, 64)
    half = table.astype(np.float16)
    full, small = (len(static_graph(t).SerializeToString()) for t in (table, half))
    assert small < 0.55 * full
    ids = [[1, 2, 3]]
    np.testing.assert_allclose(run(session_of(half), ids), run(session_of(table), ids), atol=2e-3)


def test_int8_quarters_the_graph_and_keeps_the_direction():
    table = random_table(500, 64)
    stored = quantize_rows(table)
    full, small = (static_graph(*how).SerializeToString() for how in ((table,), stored))
    assert len(small) < 0.3 * len(full)
    ids = np.random.default_rng(2).integers(0, 500, (20, 5))
    cosines = (run(session_of(*stored), ids) * run(session_of(table), ids)).sum(axis=1)
    assert cosines.min() > 0.999
