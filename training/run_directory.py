"""The directory of a run: what is where, whose it is, and whether it can be resumed.

::

    run/
      run.json                   configuration and data it was started with, number of processes
      base.json                  digest of the backbone's weights           (transformers only)
      stages/00-align/           log.jsonl, checkpoint-N while it runs, encoder/ once it is done
      tensorboard/00-align/      the log for TensorBoard                    (--tensorboard only)
      encoder/                   the trained encoder, in sentence-transformers layout
      provenance.json            written last: a run without it is not finished
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.checkpoints import writing
from training.config import RunConfig, StaticModel, TransformerModel
from training.data_prepared import MANIFEST, Prepared, write_json
from training.development_set import DevelopmentSet
from training.errors import RunError

RUN = "run.json"
PROVENANCE = "provenance.json"
ENCODER = "encoder"
BASE = "base.json"
FACTS = "facts.json"
LOG = "log.jsonl"
PROCESSES = "processes"


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Where a run keeps its things."""

    root: Path

    @property
    def encoder(self) -> Path:
        """The trained encoder."""
        return self.root / ENCODER

    def stage(self, number: int, name: str) -> Path:
        """Directory of a stage."""
        return self.root / "stages" / f"{number:02d}-{name}"

    def tensorboard(self, number: int, name: str) -> Path:
        """Directory of TensorBoard's files of a stage."""
        return self.root / "tensorboard" / f"{number:02d}-{name}"


def check_prepared(config: RunConfig, prepared: Prepared) -> None:
    """Check that the data were prepared for this run; only what ``train`` reads may differ.

    Raises:
        RunError: A table that ``prepare`` reads has changed since.
    """
    for name, ours, theirs in zip(
        ("languages", "seed", "data", "vocabulary", "model.max_length"),
        _prepared_by(config),
        _prepared_by(prepared.config),
        strict=True,
    ):
        if ours != theirs:
            raise RunError(
                f"{prepared.path} was prepared with another {name!r} than the configuration has. "
                "Run 'isoglot-train prepare' again."
            )


def _prepared_by(config: RunConfig) -> tuple[object, ...]:
    """Return what ``prepare`` reads of a configuration."""
    read_later = {"__all__": {"share", "teacher_cap"}}
    data = config.data.model_dump(
        exclude={"pairs": {"__all__": {"weight"}}, "parallel": read_later, "lexicon": read_later}
    )
    static = isinstance(config.model, StaticModel)
    vocabulary = (config.vocabulary, config.model.max_length) if static else (None, None)
    return config.languages, config.seed, data, *vocabulary


def open_run(  # noqa: PLR0913 - whose run it is, and what may be done to it
    config: RunConfig,
    prepared: Prepared,
    root: Path,
    development: Mapping[int, DevelopmentSet],
    *,
    resume: bool,
    force: bool,
    n_processes: int = 1,
) -> RunPaths:
    """Create the run's directory, or check that it is this very run's.

    Args:
        config: What is trained.
        prepared: On what.
        root: The directory.
        development: What stages are measured on, by number of stage.
        resume: Go on with the run that is there.
        force: Replace it.
        n_processes: Number of processes that train together.

    Raises:
        RunError: It holds a run and neither ``resume`` nor ``force`` is set, or another run's
            configuration, data or number of processes.
    """
    manifest = (prepared.path / MANIFEST).read_bytes()
    identity = {
        "config": config.model_dump(mode="json"),
        "prepared_sha256": hashlib.sha256(manifest).hexdigest(),
        "development_sha256": {str(number): d.sha256 for number, d in development.items()},
        PROCESSES: n_processes,
    }
    started = root / RUN
    if force and root.exists():
        shutil.rmtree(root)
    if not started.exists():
        with writing("The run", root):
            root.mkdir(parents=True, exist_ok=True)
            write_json(started, identity)
        return RunPaths(root)
    if not resume:
        raise RunError(f"{root} holds a run already: --resume goes on with it, --force ends it.")
    # Runs that were started before several processes could train say nothing of their number.
    before = {PROCESSES: 1} | json.loads(started.read_text(encoding="utf-8"))
    _check_processes(root, before[PROCESSES], n_processes)
    if differing := _differences(before, identity):
        raise RunError(
            f"{root} was started with another configuration or other data ({differing}), so it "
            "cannot be resumed. Give another directory, or --force to start again."
        )
    return RunPaths(root)


def _check_processes(root: Path, before: int, now: int) -> None:
    if before != now:
        raise RunError(
            f"{root} was started with {before} process(es) and cannot be resumed with {now}, "
            "because a batch has batch_size rows for each of them. Start as many with 'torchrun "
            f"--nproc-per-node {before}', or give another directory, or --force to start again."
        )


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return the names of what differs, in one line; empty if nothing does."""
    before, now = one.get("config", {}), other["config"]
    names = [name for name in now if before.get(name) != now[name]]
    if "model" in names and before["model"].get("base") != now["model"].get("base"):
        names[names.index("model")] = "model.base, which --base replaces"
    names += [name for name in other if name != "config" and one.get(name) != other[name]]
    return ", ".join(names)


def public_name(place: str) -> str:
    """Return a hub id or relative path as it is, and of another directory its name alone."""
    return Path(place).name if Path(place).is_absolute() or Path(place).exists() else place


def without_places(config: RunConfig) -> RunConfig:
    """Return the configuration without paths of this machine."""
    changed: dict[str, object] = {}
    if isinstance(config.model, TransformerModel):
        changed["model"] = config.model.model_copy(update={"base": public_name(config.model.base)})
    elif config.model.start_from is not None:
        name = public_name(config.model.start_from)
        changed["model"] = config.model.model_copy(update={"start_from": name})
    if config.teacher is not None and config.teacher.model is not None:
        name = public_name(config.teacher.model)
        changed["teacher"] = config.teacher.model_copy(update={"model": name})
    return config.model_copy(update=changed)
