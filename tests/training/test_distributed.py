"""One process with a batch of 2 B against two processes with batches of B."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate.data_loader import (  # type: ignore[import-untyped]  # it ships no types
    BatchSamplerShard,
    SkipBatchSampler,
)
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset

from tests.training.conftest import STATIC_TOML
from tests.training.two_processes import train_stage
from training.batching import AlignBatchSampler, HybridBatchSampler, MixedBatchSampler
from training.distributed import World
from training.drawing import HybridSettings
from training.errors import RunError

pytestmark = pytest.mark.training

REPOSITORY = Path(__file__).parents[2]


@given(st.integers(0, 50), st.integers(1, 9))
def test_the_parts_of_a_batch_are_even_and_leave_nothing_out(n_rows, size):
    world = World(0, size)
    rows = list(range(n_rows))
    parts = [rows[part] for part in world.parts(n_rows)]
    assert list(itertools.chain(*parts)) == rows
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert world.counts(n_rows) == [len(part) for part in parts]


def test_torchrun_says_how_many_processes_there_are():
    assert World.from_environment({}) == World(0, 1)
    assert World.from_environment({"RANK": "2", "WORLD_SIZE": "4"}) == World(2, 4)
    assert World.from_environment({"WORLD_SIZE": "4"}, shared=True).shared
    assert not World.from_environment({}, shared=True).shared


# What accelerate makes of the samplers


def pairs(n_groups: int = 30) -> Any:
    """Rows of two languages, of which the second has fewer groups than a batch has rows."""
    group = np.concatenate([np.arange(n_groups), np.arange(7)])
    language = np.repeat([0, 1], [n_groups, 7])
    return Dataset.from_dict(
        {
            "question": np.arange(len(group)),
            "query_language": language,
            "passage_language": language,
            "group": group,
            "source": np.zeros(len(group), np.int32),
        }
    )


def hybrid(n_processes: int, n_batches: int = 9, batch_size: int = 12) -> Any:
    return HybridBatchSampler(
        pairs(),
        batch_size,
        HybridSettings(1.0),
        seed=4,
        n_batches=n_batches,
        n_processes=n_processes,
    )


def mixed(n_processes: int, n_batches: int = 9) -> Any:
    parallel = Dataset.from_dict({"source": [0] * 40, "group": list(range(40))})
    first = hybrid(n_processes, n_batches)
    second = AlignBatchSampler(
        parallel, 16, {0: 1.0}, seed=4, n_batches=n_batches, n_processes=n_processes
    )
    both: ConcatDataset[object] = ConcatDataset([pairs(), parallel])
    return MixedBatchSampler(
        first, second, dataset=both, second_share=0.4, seed=4, n_batches=n_batches
    )


def shard(sampler: Any, n_processes: int, rank: int) -> Any:
    return BatchSamplerShard(sampler, n_processes, rank, even_batches=False)


@pytest.mark.parametrize("build", [hybrid, mixed])
@pytest.mark.parametrize("n", [2, 3])
def test_every_process_gets_every_batch_short_ones_too(build, n):
    alone = list(build(1))
    assert len({len(batch) for batch in alone}) > 1
    for rank in range(n):
        mine = shard(build(n), n, rank)
        assert list(mine) == alone
        assert len(mine) == len(alone)


@settings(max_examples=10)
@given(st.integers(0, 9))
def test_each_process_resumes_where_all_of_them_stopped(position):
    alone = list(hybrid(1))
    for rank in range(2):
        resumed = SkipBatchSampler(shard(hybrid(2), 2, rank), position)
        assert list(resumed) == alone[position:]
    flat = list(hybrid(2))
    assert list(hybrid(2).iter_from(position)) == flat[position:]


def test_a_batch_with_fewer_rows_than_processes_is_passed_over():
    longest = max(len(batch) for batch in hybrid(1, batch_size=12))
    assert {len(batch) for batch in hybrid(1)} == {7, longest}
    assert {len(batch) for batch in hybrid(8)} == {longest}


def test_more_processes_than_any_batch_has_rows_are_refused():
    with pytest.raises(RunError, match=r"fewer rows than there are processes \(13\)"):
        list(hybrid(13, batch_size=12))


# Two real processes

STAGE = """
[[stage]]
name = "hybrid"
steps = 6
batch_size = {batch_size}
learning_rate = {rate}
checkpoints = 1
{options}

[stage.align]
share = 0.5
w_distill = 0.0
"""
TRANSFORMER = 'kind = "transformer"\nbase = "{base}"\nmax_length = 16'


def toml(batch_size: int, options: str = "", model: str = "", rate: float = 0.01) -> Any:
    head = STATIC_TOML.partition("[[stage]]")[0]
    head = head.replace("dim = 16", "dim = 16\ndropout = 0.3")
    if model:
        head = head.partition("[model]")[0] + "[model]\n" + model
    return head + STAGE.format(batch_size=batch_size, options=options, rate=rate)


SHARED = "cross_device_negatives = true"
CASES: dict[str, dict[str, Any]] = {
    "plain": {"options": SHARED},
    "short": {"options": SHARED, "batch_size": 30},
    "sparse": {"options": SHARED + '\noptimizer = "sparse_adam"'},
    "cached": {"options": SHARED + "\nmini_batch_size = 4"},
    "apart": {"options": ""},
}
FOR_TRANSFORMERS = {"transformer": SHARED, "transformer-cached": SHARED + "\nmini_batch_size = 4"}


@pytest.fixture(scope="module")
def both(tmp_path_factory, prepared, backbone):
    """Return what one process and two processes came to, by case."""
    directory = tmp_path_factory.mktemp("processes")
    base = without_dropout(backbone, directory / "backbone")
    model = TRANSFORMER.format(base=base)
    cases = CASES | {
        name: {"options": options, "model": model, "rate": 1e-3}
        for name, options in FOR_TRANSFORMERS.items()
    }
    halves, wholes = {}, {}
    for name, case in cases.items():
        batch_size = case.get("batch_size", 6)
        halves[name] = toml(**case | {"batch_size": batch_size})
        wholes[name] = toml(**case | {"batch_size": 2 * batch_size})
    (directory / "cases.json").write_text(json.dumps(halves))
    run_two(prepared.path, directory)
    found = {}
    for name, text in wholes.items():
        ranks = [dict(np.load(directory / f"{name}.{rank}.npz")) for rank in range(2)]
        found[name] = (train_stage(text, prepared, directory / f"{name}-alone"), *ranks)
    return found


def without_dropout(backbone: Path, target: Path) -> Path:
    """Two processes draw other masks than one, so that nothing could be compared."""
    shutil.copytree(backbone, target)
    config = json.loads((target / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (target / "config.json").write_text(json.dumps(config))
    return target


def run_two(prepared: Path, directory: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "tests.training.two_processes", str(prepared)]
    command += [str(directory / "cases.json"), str(directory)]
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    world |= {"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    processes = [
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        outputs = [process.communicate(timeout=900)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)


def largest_difference(one: Any, other: Any) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def test_two_processes_come_to_the_weights_of_one_with_twice_the_batch(both):
    for name in ("plain", "short", "sparse", "cached"):
        alone, first, second = both[name]
        assert largest_difference(first, second) == 0.0, name
        # Weights are about 0.1, and six steps of 0.01 move them by up to 0.06.
        assert largest_difference(alone, first) < 2e-5, name


def test_a_transformer_does_too(both):
    for name in FOR_TRANSFORMERS:
        alone, first, second = both[name]
        assert largest_difference(first, second) == 0.0, name
        assert np.allclose(alone["losses"], first["losses"], rtol=1e-4), name
        # Six steps of 0.001 move weights by up to 0.006; Adam moves those whose gradient is next
        # to nothing by the sign of its rounding error.
        assert largest_difference(alone, first) < 1e-4, name


def test_without_cross_device_negatives_they_do_not(both):
    alone, first, second = both["apart"]
    same = {name: values for name, values in first.items() if name != "losses"}
    assert largest_difference(same, second) == 0.0
    assert largest_difference(same, alone) > 1e-3
    assert not np.allclose(first["losses"], second["losses"])
