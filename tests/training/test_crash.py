"""What is left when a run is killed, or when the disk is full, is enough to go on."""

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from tests.training.conftest import STATIC_TOML
from tests.training.runs import ALIGN, HYBRID, Quiet, run, same_weights
from training.checkpoints import DRAFT
from training.errors import RunError, RunInterruptedError

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[2]

KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from tests.training.conftest import STATIC_TOML
from tests.training.runs import run
from training.config import parse_config
from training.data_prepared import open_prepared

save = torch.save

def save_half(what, path, *arguments, **options):
    save(what, path, *arguments, **options)
    if "01-hybrid" in str(path) and "checkpoint-6" in str(path) and "optimizer" in str(path):
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

torch.save = save_half
run(parse_config(STATIC_TOML), open_prepared(Path(sys.argv[1])), Path(sys.argv[2]))
"""


FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.training.conftest import STATIC_TOML
from tests.training.runs import ALIGN, Quiet, run
from training.config import parse_config
from training.data_prepared import open_prepared
from training.errors import RunError

def fill_disk():
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, resource.RLIM_INFINITY))

progress = Quiet((ALIGN, 3), fill_disk)
prepared = open_prepared(Path(sys.argv[1]))
try:
    run(parse_config(STATIC_TOML), prepared, Path(sys.argv[2]), progress=progress)
except RunError as error:
    print(error)
"""
"""No file can grow beyond 8,000 bytes after the third step: a log fits, weights do not."""


def in_a_process(code: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run code that kills itself or fills its disk where it harms no other test."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory, static_config, prepared):
    return run(static_config, prepared, tmp_path_factory.mktemp("runs") / "whole")


def test_a_run_that_is_killed_inside_a_checkpoint_resumes_to_the_very_same_weights(
    finished, static_config, prepared, tmp_path
):
    root = tmp_path / "run"
    done = in_a_process(KILLED, prepared.path, root)
    assert done.returncode == -signal.SIGKILL, done.stderr
    stage = root / "stages" / "01-hybrid"
    assert (stage / DRAFT / "checkpoint-6" / "optimizer.pt").is_file()
    assert sorted(p.name for p in stage.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    assert same_weights(run(static_config, prepared, root, resume=True), finished)
    assert not (stage / DRAFT).exists()


def test_a_disk_that_is_full_during_a_checkpoint_is_told_and_the_run_goes_on_later(
    finished, static_config, prepared, tmp_path
):
    root = tmp_path / "run"
    done = in_a_process(FULL_DISK, prepared.path, root)
    assert done.returncode == 0, done.stderr
    where = r"could not be written to \S+/\.checkpoint\.draft/checkpoint-4/.*MiB are free.*--resume"
    assert re.search(where, done.stdout)
    stage = root / "stages" / "00-align"
    assert sorted(p.name for p in stage.iterdir()) == ["checkpoint-2", "log.jsonl"]
    assert same_weights(run(static_config, prepared, root, resume=True), finished)


def test_a_disk_that_is_full_at_the_end_leaves_no_encoder_that_looks_finished(
    finished, static_config, prepared, tmp_path, monkeypatch
):
    root = tmp_path / "run"

    def save_half(self, path, **_):
        Path(path).mkdir()
        (Path(path) / "modules.json").write_text("[")
        raise OSError(errno.ENOSPC, "No space left on device", f"{path}/model")

    with monkeypatch.context() as patch:
        patch.setattr(SentenceTransformer, "save_pretrained", save_half)
        with pytest.raises(RunError, match=r"encoder of stage 'align' .*model: No space left"):
            run(static_config, prepared, root)
    assert not (root / "stages" / "00-align" / "encoder").exists()
    assert not (root / "encoder").exists()
    assert same_weights(run(static_config, prepared, root, resume=True), finished)


def test_a_last_checkpoint_that_is_truncated_is_replaced_by_the_one_before_it(
    finished, static_config, prepared, tmp_path, capsys
):
    root = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        run(static_config, prepared, root, progress=Quiet((HYBRID, 7)))
    stage = root / "stages" / "01-hybrid"
    assert sorted(p.name for p in stage.glob("checkpoint-*")) == ["checkpoint-6", "checkpoint-7"]
    os.truncate(stage / "checkpoint-7" / "model.safetensors", 300)
    capsys.readouterr()
    assert same_weights(run(static_config, prepared, root, resume=True), finished)
    told = capsys.readouterr().out
    assert "checkpoint-7 is damaged (model.safetensors has 300 bytes instead of " in told


def test_a_stage_without_an_undamaged_checkpoint_starts_again_and_says_so(
    finished, static_config, prepared, tmp_path, capsys
):
    root = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        run(static_config, prepared, root, progress=Quiet((ALIGN, 1)))
    stage = root / "stages" / "00-align"
    os.truncate(stage / "checkpoint-1" / "optimizer.pt", 10)
    assert same_weights(run(static_config, prepared, root, resume=True), finished)
    assert "has no complete checkpoint, so the stage starts again" in capsys.readouterr().out


@pytest.mark.parametrize("stop_at", [(ALIGN, 12), (HYBRID, 12)], ids=["first", "last"])
def test_a_run_that_is_interrupted_in_the_last_step_of_a_stage_resumes(
    finished, static_config, prepared, tmp_path, stop_at
):
    root = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        run(static_config, prepared, root, progress=Quiet(stop_at))
    assert same_weights(run(static_config, prepared, root, resume=True), finished)


def test_resuming_a_finished_run_changes_nothing(static_config, prepared, tmp_path):
    root = tmp_path / "run"
    run(static_config, prepared, root)
    before = (root / "provenance.json").read_bytes()
    assert run(static_config, prepared, root, resume=True) == root / "encoder"
    assert (root / "provenance.json").read_bytes() == before


def test_the_log_of_a_resumed_run_tells_every_step_once(static_config, prepared, tmp_path):
    root = tmp_path / "run"
    with pytest.raises(RunInterruptedError):
        run(static_config, prepared, root, progress=Quiet((ALIGN, 5)))
    run(static_config, prepared, root, resume=True)
    lines = (root / "stages" / "00-align" / "log.jsonl").read_text().splitlines()
    logged = [line for line in lines if '"loss"' in line]
    assert len(logged) == 12
    assert all('"grad_norm"' in line and '"learning_rate"' in line for line in logged)


assert STATIC_TOML.count("checkpoints = 6") == 2, "the steps above count on it"
