"""Checkpoints that are complete or absent, and checked before they are read.

::

    checkpoint-6/
      model.safetensors     the weights that are trained
      best.safetensors      the best weights so far           (early stopping only)
      optimizer.pt, scheduler.pt, rng_state.pth, trainer_state.json     written by the trainer
      complete.json         size and sha256 of every file

A checkpoint is filled under another name and renamed when all of it is on the disk, so that one
that was cut off is never taken for one. What happens to a file afterwards is found out by its
digest; then the checkpoint before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.data_prepared import write_json
from training.errors import RunError

COMPLETE = "complete.json"
DRAFT = ".checkpoint.draft"
WEIGHTS = "model.safetensors"
_PREFIX = "checkpoint-"
_TORCH_WRITER = ("inline_container", "PytorchStreamWriter")
"""What torch says when it cannot write; it has no error class for that."""


def checkpoint_path(directory: Path, step: int) -> Path:
    """Return where the checkpoint of a step is."""
    return directory / f"{_PREFIX}{step}"


def _step(path: Path) -> int:
    return int(path.name.removeprefix(_PREFIX))


def _checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoints of a stage, the newest first."""
    found = [p for p in directory.glob(f"{_PREFIX}*") if p.name.removeprefix(_PREFIX).isdecimal()]
    return sorted(found, key=_step, reverse=True)


@contextmanager
def writing(what: str, target: Path) -> Iterator[None]:
    """Turn a failure to write, such as a full disk, into an error that says what to do.

    Args:
        what: What is being written, to begin a sentence with.
        target: The file or directory.

    Raises:
        RunError: It could not be written.
    """
    try:
        yield
    except (OSError, SafetensorError) as exc:
        raise _cannot_write(what, target, exc) from exc
    except RuntimeError as exc:
        if not any(name in str(exc) for name in _TORCH_WRITER):
            raise
        raise _cannot_write(what, target, exc) from exc


def _cannot_write(what: str, target: Path, exc: Exception) -> RunError:
    named = getattr(exc, "filename", None)
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    there = next(path for path in (target, *target.parents) if path.exists())
    free = shutil.disk_usage(there).free / 2**20
    return RunError(
        f"{what} could not be written to {named or _newest(target)}: {reason}. "
        f"{free:,.0f} MiB are free there. Nothing half-written is kept; make room, then run the "
        "same command with --resume."
    )


def _newest(target: Path) -> Path:
    """Return the file in a directory that was written last; the target itself if it is none."""
    files = [path for path in target.rglob("*") if path.is_file()] if target.is_dir() else []
    return max(files, key=lambda path: path.stat().st_mtime_ns, default=target)


def to_disk(path: Path) -> None:
    """Wait until a file or directory is on the disk, not only in the memory of the system."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_directory(draft: Path, target: Path) -> None:
    """Put a filled directory in its place, once all of it is on the disk."""
    for path in draft.rglob("*"):
        to_disk(path)
    to_disk(draft)
    if target.exists():
        shutil.rmtree(target)
    draft.replace(target)
    to_disk(target.parent)


def _facts(path: Path) -> dict[str, int | str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def publish(draft: Path, target: Path) -> None:
    """Seal a filled directory and make it the checkpoint ``target``."""
    files = sorted(path for path in draft.iterdir() if path.is_file())
    write_json(draft / COMPLETE, {path.name: _facts(path) for path in files})
    replace_directory(draft, target)


def prune(directory: Path, keep: int) -> None:
    """Remove all checkpoints of a stage but the newest ``keep``."""
    for path in _checkpoints(directory)[keep:]:
        shutil.rmtree(path)


def damage(checkpoint: Path) -> str | None:
    """Return what is wrong with a checkpoint, its file named; ``None`` if nothing is."""
    try:
        sealed = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{COMPLETE} is missing or cannot be read"
    for name, expected in sealed.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected["bytes"]:
            return f"{name} has {path.stat().st_size} bytes instead of {expected['bytes']}"
        if _facts(path) != expected:
            return f"{name} has another sha256 than when it was written"
    return None


def last_checkpoint(directory: Path, tell: Callable[[str], None]) -> Path | None:
    """Return the newest undamaged checkpoint of a stage; damaged ones are removed.

    Args:
        directory: Of the stage.
        tell: Is told of every damaged checkpoint, in a sentence.
    """
    shutil.rmtree(directory / DRAFT, ignore_errors=True)
    for path in _checkpoints(directory):
        problem = damage(path)
        if problem is None:
            return path
        tell(f"{path} is damaged ({problem}), so it is removed and the one before it is used.")
        shutil.rmtree(path)
    return None


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return what training changes: every weight and buffer that is not frozen, once each."""
    frozen = {
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad
    }
    kept: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        # One tensor under two names is stored once: safetensors refuses shared memory.
        if name not in frozen and tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            kept[name] = tensor
    return kept


def save_weights(model: nn.Module, path: Path) -> None:
    """Write what training changes of a model; errors as ``write_tensors``."""
    write_tensors(path, trained_weights(model))


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors as safetensors.

    Raises:
        RunError: They cannot be written.
    """
    # Its errors do not name the file, and it leaves none that could be found.
    with writing("The weights", path):
        save_file({name: t.contiguous() for name, t in tensors.items()}, path, metadata)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read into a model what ``save_weights`` wrote.

    Raises:
        RunError: The file is of another model.
    """
    put_weights(model, load_file(path), origin=path)


def put_weights(model: nn.Module, weights: Mapping[str, Tensor], *, origin: Path) -> None:
    """Replace what training changes of a model.

    Raises:
        RunError: The weights are of another model; ``origin`` is named.
    """
    own = trained_weights(model)
    if own.keys() != weights.keys() or any(own[k].shape != weights[k].shape for k in own):
        raise RunError(
            f"{origin} holds the weights of another model. Start again with --force, or give "
            "another directory."
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])
