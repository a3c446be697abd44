from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from training.onnx_graph import INPUTS, OUTPUT, static_graph

pytestmark = pytest.mark.training


def session_of(table: Any, **how: Any) -> Any:
    graph = static_graph(table, **({"scales": False, "half": False} | how))
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


@pytest.mark.parametrize("scales", [False, True])
def test_padding_changes_nothing_whatever_token_it_is(scales):
    session = session_of(random_table(), scales=scales)
    alone = run(session, [[3, 4]])
    padded = run(session, [[3, 4, 9, 0], [1, 2, 3, 4]], [[1, 1, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_allclose(padded[0], alone[0], atol=1e-6)


@pytest.mark.parametrize("scales", [False, True])
def test_a_text_without_a_token_is_the_zero_vector_and_never_nan(scales):
    session = session_of(random_table(), scales=scales)
    assert run(session, [[0, 0]], [[0, 0]]).tolist() == [[0.0] * 8]
    assert run(session, np.empty((1, 0))).tolist() == [[0.0] * 8]


def test_half_precision_halves_the_graph_and_stays_near():
    table = random_table(500, 64)
    full, half = (static_graph(table, scales=False, half=h) for h in (False, True))
    assert len(half.SerializeToString()) < 0.55 * len(full.SerializeToString())
    ids = [[1, 2, 3]]
    np.testing.assert_allclose(
        run(session_of(table, half=True), ids), run(session_of(table), ids), atol=2e-3
    )


def test_int8_quarters_the_graph_and_keeps_the_direction():
    table = random_table(500, 64)
    full, small = (static_graph(table, scales=s, half=False) for s in (False, True))
    assert len(small.SerializeToString()) < 0.3 * len(full.SerializeToString())
    ids = np.random.default_rng(2).integers(0, 500, (20, 5))
    cosines = (run(session_of(table, scales=True), ids) * run(session_of(table), ids)).sum(axis=1)
    assert cosines.min() > 0.999
