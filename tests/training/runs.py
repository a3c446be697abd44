"""Training runs for tests: quiet, interrupted at a chosen step, and compared weight by weight."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from sentence_transformers import SentenceTransformer

from training.config import RunConfig
from training.data_prepared import Prepared
from training.train import TrainOptions, train

ALIGN = "Stage 1 of 2: align"
HYBRID = "Stage 2 of 2: hybrid"


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


class Quiet(Progress):
    """Shows nothing; does something, such as Ctrl-C, when a step of a stage is done."""

    def __init__(self, at: Any = None, act: Callable[[], None] = press_ctrl_c) -> None:
        super().__init__(disable=True)
        self._at = at
        self._act = act

    def update(self, task_id: Any, **fields: Any) -> Any:
        super().update(task_id, **fields)
        # By number, not by position: the bars of evaluations are gone by now.
        stage = next(task.description for task in self.tasks if task.id == task_id)
        if self._at and (stage.split(",")[0], fields.get("completed")) == self._at:
            self._at = None
            self._act()


def run(
    config: RunConfig,
    prepared: Prepared,
    root: Path,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Path:
    """Train into a directory, the teacher's vectors beside it."""
    how = TrainOptions(cache=root.parent / "cache", **options)
    return train(config, prepared, root, how, progress=progress or Quiet())


def same_weights(one: Path, other: Path) -> bool:
    """Whether two saved encoders are equal bit by bit."""
    first, second = (SentenceTransformer(str(path)).state_dict() for path in (one, other))
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )
