import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from training.checkpoints import (
    COMPLETE,
    DRAFT,
    checkpoint_path,
    damage,
    last_checkpoint,
    load_weights,
    prune,
    publish,
    save_weights,
    trained_weights,
    writing,
)
from training.errors import RunError

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[2]


def write_checkpoint(directory: Path, step: int) -> Path:
    draft = directory / DRAFT
    draft.mkdir(parents=True)
    (draft / "model.safetensors").write_bytes(b"weights" * 10)
    (draft / "optimizer.pt").write_bytes(b"moments" * 10)
    publish(draft, checkpoint_path(directory, step))
    return checkpoint_path(directory, step)


def test_a_published_checkpoint_is_undamaged_and_leaves_no_draft(tmp_path):
    checkpoint = write_checkpoint(tmp_path, 3)
    assert damage(checkpoint) is None
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda c: (c / "optimizer.pt").write_bytes(b"moments"), "has 7 bytes instead of 70"),
        (lambda c: (c / "optimizer.pt").write_bytes(b"momentz" * 10), "another sha256"),
        (lambda c: (c / "optimizer.pt").unlink(), "optimizer.pt is missing"),
        (lambda c: (c / COMPLETE).write_text("{"), "complete.json is missing or cannot be read"),
        (lambda c: (c / COMPLETE).unlink(), "complete.json is missing or cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_told_by_its_file_and_the_one_before_it_is_used(
    tmp_path, spoil, problem
):
    older, newer = (write_checkpoint(tmp_path, step) for step in (9, 10))
    spoil(newer)
    told: list[str] = []
    assert last_checkpoint(tmp_path, told.append) == older
    assert problem in told[0]
    assert str(newer) in told[0]
    assert not newer.exists()


def test_there_is_no_last_checkpoint_where_none_is_complete(tmp_path):
    (tmp_path / DRAFT).mkdir()
    (tmp_path / "checkpoint-7").mkdir()
    (tmp_path / "checkpoint-notes").mkdir()
    assert last_checkpoint(tmp_path, lambda _: None) is None
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-notes"]


def test_the_newest_are_kept_by_number_not_by_name(tmp_path):
    for step in (8, 9, 10):
        write_checkpoint(tmp_path, step)
    prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-9"]


FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from training.checkpoints import write_tensors, writing
from training.errors import RunError

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
writers = {
    "torch": lambda path: torch.save({"a": torch.zeros(9000)}, path),
    "safetensors": lambda path: write_tensors(path, {"a": torch.zeros(9000)}),
    "python": lambda path: path.write_bytes(b"0" * 30_000),
}
for name, write in writers.items():
    try:
        with writing("The thing", Path(sys.argv[1])):
            write(Path(sys.argv[1]) / "out.bin")
    except RunError as error:
        print(name, error)
"""
"""No file can grow beyond 20,000 bytes, in a process of its own: the tests' own log is longer."""


def test_whoever_fails_to_write_the_error_names_the_file_and_the_way_out(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    said = r"^(\w+) The (?:thing|weights) could not be written to .*out\.bin.*--resume"
    assert re.findall(said, done.stdout, re.MULTILINE) == ["torch", "safetensors", "python"]


def test_the_file_that_the_system_names_is_the_one_that_is_told(tmp_path):
    with (
        pytest.raises(RunError, match=r"/x/y: No space left on device\. [\d,]+ MiB are free"),
        writing("The thing", tmp_path / "not" / "there"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device", "/x/y")


def test_an_error_that_has_nothing_to_do_with_writing_stays_what_it_is(tmp_path):
    with pytest.raises(RuntimeError, match="shapes"), writing("The thing", tmp_path):
        raise RuntimeError("shapes do not match")


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3)
        self.head = nn.Linear(3, 4, bias=False)
        self.head.weight = self.table.weight
        self.frozen = nn.Linear(3, 3)
        self.frozen.requires_grad_(requires_grad=False)


def test_only_what_is_trained_is_kept_and_tied_weights_once(tmp_path):
    model, other = Tied(), Tied()
    assert list(trained_weights(model)) == ["table.weight"]
    save_weights(model, tmp_path / "w.safetensors")
    assert list(load_file(tmp_path / "w.safetensors")) == ["table.weight"]
    load_weights(other, tmp_path / "w.safetensors")
    assert torch.equal(other.head.weight, model.table.weight)
    assert not torch.equal(other.frozen.weight, model.frozen.weight)


@pytest.mark.parametrize("other", [nn.Linear(2, 2), nn.Embedding(4, 3)], ids=["names", "shapes"])
def test_weights_of_another_model_are_refused(tmp_path, other):
    save_weights(nn.Embedding(5, 3), tmp_path / "w.safetensors")
    with pytest.raises(RunError, match=r"w\.safetensors holds the weights of another model"):
        load_weights(other, tmp_path / "w.safetensors")
