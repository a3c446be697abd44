import math
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.utils.data import ConcatDataset

from tests.training.pair_rows import even_rows
from training.batching import (
    AlignBatchSampler,
    HybridBatchSampler,
    MixedBatchSampler,
    hybrid_batch_sampler,
)
from training.drawing import HybridSettings, PairRows

pytestmark = pytest.mark.training


def pair_dataset(rows: PairRows) -> Any:
    return Dataset.from_dict(
        {
            "question": rows.question,
            "query_language": rows.query_language,
            "passage_language": rows.passage_language,
            "group": rows.group,
            "source": rows.source,
            "weight": rows.weight,
        }
    )


def hybrid_sampler(n_batches: int = 12, **how: Any) -> Any:
    dataset = pair_dataset(even_rows())
    settings = HybridSettings(0.5)
    return HybridBatchSampler(dataset, 8, settings, n_batches=n_batches, **({"seed": 5} | how))


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=15)
@given(st.integers(0, 12), st.integers(0, 3), st.integers(1, 3))
def test_resuming_at_a_position_gives_the_batches_that_remain(position, epoch, n_processes):
    sampler = hybrid_sampler(n_processes=n_processes)
    sampler.set_epoch(epoch)
    assert list(sampler)[position:] == list(sampler.iter_from(position))


def test_another_epoch_draws_other_batches_and_the_same_epoch_the_same():
    sampler = hybrid_sampler()
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert first == list(sampler)
    assert first != second


def test_the_length_is_the_number_of_batches():
    sampler = hybrid_sampler(n_batches=7)
    assert len(sampler) == len(list(sampler)) == 7
    dataset = pair_dataset(even_rows())
    assert len(HybridBatchSampler(dataset, 8, HybridSettings(0.5))) == 40 * 16 // 8


def test_the_factory_takes_what_the_trainer_gives():
    build = hybrid_batch_sampler(HybridSettings(0.5), n_batches=4)
    sampler = build(
        pair_dataset(even_rows()),
        batch_size=8,
        drop_last=True,
        valid_label_columns=["label"],
        generator=None,
        seed=5,
    )
    assert isinstance(sampler, DefaultBatchSampler)
    assert list(sampler) == list(hybrid_sampler(n_batches=4))


def test_a_mixed_sampler_draws_from_both_datasets_by_the_share():
    pairs = pair_dataset(even_rows())
    parallel = Dataset.from_dict({"source": [0] * 100, "group": list(range(100))})
    n = 400
    first = HybridBatchSampler(pairs, 8, HybridSettings(0.5), n_batches=n)
    second = AlignBatchSampler(parallel, 10, {0: 1.0}, n_batches=n)
    both: ConcatDataset[object] = ConcatDataset([pairs, parallel])
    sampler = MixedBatchSampler(first, second, dataset=both, second_share=0.3, seed=2, n_batches=n)
    batches = list(sampler)
    is_second = [min(batch) >= len(pairs) for batch in batches]
    assert all(min(b) >= len(pairs) or max(b) < len(pairs) for b in batches)
    assert abs(sum(is_second) - n * 0.3) < 5 * math.sqrt(n * 0.21)
    assert [b for b, s in zip(batches, is_second, strict=True) if not s] == list(first)[
        : n - sum(is_second)
    ]
    assert len(sampler) == n
