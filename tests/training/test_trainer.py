from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset

from training.config import HybridStage
from training.trainer import gradient_norm, rate, rows_of_one_dataset

pytestmark = pytest.mark.training

SCHEDULES = st.sampled_from(["linear", "cosine", "constant"])


def stage(**settings: Any) -> Any:
    return HybridStage(name="hybrid", **({"steps": 100} | settings))


@given(SCHEDULES, st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_the_learning_rate_rises_then_falls_and_stays_in_its_range(kind, steps, warmup, final):
    how = stage(steps=steps, schedule=kind, warmup_share=warmup, final_share=final)
    rates = [rate(step, how) for step in range(steps)]
    peak = rates.index(max(rates))
    assert all(0.0 <= r <= 1.0 for r in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_final_share_is_what_is_left_at_the_end(kind):
    how = stage(schedule=kind, final_share=0.1, warmup_share=0.0)
    assert rate(0, how) == pytest.approx(1.0)
    assert rate(50, how) == pytest.approx(0.55)
    assert rate(100, how) == pytest.approx(0.1)


def test_the_rows_of_a_batch_are_those_of_its_positions():
    first = Dataset.from_dict({"row": [0, 1, 2]})
    second = Dataset.from_dict({"row": [3, 4, 5, 6]})
    both: ConcatDataset[object] = ConcatDataset([first, second])
    for positions in ([2, 0], [3], [6, 4, 3]):
        rows: list[Any] = rows_of_one_dataset(both, positions)
        assert [row["row"] for row in rows] == positions


def test_the_gradient_norm_is_that_of_all_gradients_sparse_ones_included():
    bag = torch.nn.EmbeddingBag(5, 2, mode="sum", sparse=True)
    line = torch.nn.Linear(2, 1, bias=False)
    both = torch.nn.ModuleList([bag, line])
    assert gradient_norm(both) == 0.0
    line(bag(torch.tensor([1, 1, 3]), torch.tensor([0]))).sum().backward()
    assert bag.weight.grad is not None
    assert bag.weight.grad.is_sparse
    assert line.weight.grad is not None
    dense = torch.cat([bag.weight.grad.to_dense().flatten(), line.weight.grad.flatten()])
    assert gradient_norm(both) == pytest.approx(float(dense.norm()))
