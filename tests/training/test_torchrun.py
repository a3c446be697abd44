"""The command line in two processes, as torchrun starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from tests.training.conftest import STATIC_TOML
from tests.training.runs import run, same_weights
from training.config import parse_config
from training.errors import RunError

pytestmark = pytest.mark.training

REPOSITORY = Path(__file__).parents[2]
STAGES = """
[[stage]]
name = "align"
steps = 4
batch_size = {size}
cross_device_negatives = true
w_distill = 0.0
checkpoints = 2

[stage.early_stopping]
every = 2
patience = 9
metric = "multi/map"

[[stage]]
name = "hybrid"
steps = 4
batch_size = {size}
cross_device_negatives = true
checkpoints = 2

[stage.align]
share = 0.5
w_distill = 0.0
"""


def toml(batch_size: int) -> str:
    return STATIC_TOML.partition("[[stage]]")[0] + STAGES.format(size=batch_size)


def torchrun(*command: Any) -> Any:
    """Run something in two processes that share this machine's CPU."""
    starter = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*starter, "--nproc-per-node", "2", *map(str, command)],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(REPOSITORY),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def train_in_two(config: Path, prepared: Path, out: Path, *options: str) -> Any:
    where = ("--prepared", prepared, "--out", out, "--cache", out.parent / "cache")
    return torchrun("-m", "training.cli", "train", config, *where, *options)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("configuration") / "run.toml"
    path.write_text(toml(8))
    return path


@pytest.fixture(scope="module")
def in_two(tmp_path_factory, prepared, config):
    """Return the directory of a run of two processes, and what they said."""
    root = tmp_path_factory.mktemp("torchrun") / "run"
    done = train_in_two(config, prepared.path, root)
    assert done.returncode == 0, done.stderr
    return root, done


def test_the_command_in_two_processes_comes_to_the_weights_of_one_with_twice_the_batch(
    in_two, prepared, tmp_path
):
    root, _ = in_two
    alone = run(parse_config(toml(16)), prepared, tmp_path / "alone")
    one, two = (SentenceTransformer(str(path)).state_dict() for path in (alone, root / "encoder"))
    assert one.keys() == two.keys()
    for name in one:
        assert np.allclose(one[name], two[name], rtol=0.0, atol=2e-5), name


def test_the_first_process_alone_writes_and_speaks(in_two):
    root, done = in_two
    assert done.stdout.count("The trained encoder is in") == 1
    assert json.loads((root / "run.json").read_text())["processes"] == 2
    assert json.loads((root / "provenance.json").read_text())["processes"] == 2
    assert not list(root.rglob("checkpoint-*"))
    for name in ("00-align", "01-hybrid"):
        lines = (root / "stages" / name / "log.jsonl").read_text().splitlines()
        logged = [row["step"] for row in map(json.loads, lines) if "loss" in row]
        assert logged == [1, 2, 3, 4]


def test_two_processes_that_were_interrupted_resume_to_the_very_same_weights(
    in_two, prepared, config, tmp_path
):
    """Ctrl-C comes to the second process alone: both must stop after one and the same step."""
    root = tmp_path / "run"
    stopped = torchrun("-m", "tests.training.interrupted", config, prepared.path, root)
    assert stopped.returncode == 0, stopped.stderr
    told = [line for line in stopped.stdout.splitlines() if line.startswith("process ")]
    assert sorted(told) == [f"process {rank}: Stopped after step 3 of 4" for rank in (0, 1)]
    assert sorted(path.name for path in root.glob("stages/*/*")) == [
        "checkpoint-2",
        "checkpoint-3",
        "encoder",
        "facts.json",
        "log.jsonl",
        "log.jsonl",
    ]
    resumed = train_in_two(config, prepared.path, root, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert same_weights(root / "encoder", in_two[0] / "encoder")
    lines = (root / "stages" / "01-hybrid" / "log.jsonl").read_text().splitlines()
    assert [row["step"] for row in map(json.loads, lines) if "loss" in row] == [1, 2, 3, 4]


def test_one_process_cannot_resume_a_run_of_two(in_two, prepared, config):
    wanted = r"with 2 process\(es\) and cannot be resumed with 1, .*--nproc-per-node 2"
    with pytest.raises(RunError, match=wanted):
        run(parse_config(config.read_text()), prepared, in_two[0], resume=True)


def test_a_run_that_does_not_say_its_number_of_processes_had_one(prepared, config, tmp_path):
    root = run(parse_config(config.read_text()), prepared, tmp_path / "run").parent
    said = json.loads((root / "run.json").read_text())
    assert said.pop("processes") == 1
    (root / "run.json").write_text(json.dumps(said))
    resumed = run(parse_config(config.read_text()), prepared, root, resume=True)
    assert resumed == root / "encoder"
