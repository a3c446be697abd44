"""The command ``study``: trains what is missing, cell by cell, and writes the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.progress import Progress, TaskID

from training.data_prepared import open_prepared
from training.errors import RunInterruptedError
from training.prepare import prepare
from training.study.cells import Cell, cell_directory, grid
from training.study.config import Study, load_study
from training.study.pool import run_tasks
from training.study.work import CELL, Places, Worker
from training.train import check_prepared

Task = TypeVar("Task")


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """How a study is done; nothing here changes what is computed.

    Attributes:
        jobs: Number of processes.
        threads: CPU threads of each.
    """

    jobs: int = 1
    threads: int = 1


def run_study(places: Places, options: StudyOptions, *, progress: Progress) -> Study:
    """Train and measure every cell that is not finished.

    Args:
        places: Where to read and write; the data are prepared where nobody has done so.
        options: How.
        progress: Shows how far it is, with the time that is left.

    Raises:
        ConfigError: The study cannot be run.
        RunError: Training cannot start, or the prepared data are of another run.
        RunInterruptedError: The user stopped it; the same command goes on.
    """
    study = load_study(places.config)
    if not places.prepared.exists():
        prepare(study.base, places.data_root, places.prepared, progress=progress)
    check_prepared(study.base, open_prepared(places.prepared))
    open_state = partial(Worker.open, places, options.threads)
    try:
        if study.config.shared:
            seeds = study.config.seeds
            shared = run_tasks(open_state, Worker.share, seeds, jobs=options.jobs, gpus=_gpus())
            _follow(shared, len(seeds), "Shared stages", progress)
        left = unfinished(study, places.out)
        cells = run_tasks(open_state, Worker.cell, left, jobs=options.jobs, gpus=_gpus())
        _follow(cells, len(left), "Cells", progress)
    except (KeyboardInterrupt, RunInterruptedError):
        raise _stopped(study, places.out) from None
    return study


def unfinished(study: Study, out: Path) -> list[Cell]:
    """Return the cells that have no result yet."""
    return [c for c in grid(study) if not (cell_directory(study, out, c) / CELL).is_file()]


def _follow(done: Iterator[Task], total: int, title: str, progress: Progress) -> None:
    """Do tasks and show how far they are."""
    bar: TaskID = progress.add_task(title, total=total)
    for number, task in enumerate(done, start=1):
        progress.update(bar, completed=number)
        name = task.id if isinstance(task, Cell) else f"seed {task}"
        progress.console.print(
            f"{title}: {name} is done, {number} of {total}{_left(progress, bar)}.",
            highlight=False,
        )


def _left(progress: Progress, bar: TaskID) -> str:
    task = next(task for task in progress.tasks if task.id == bar)
    if task.elapsed is None or not task.completed or task.finished:
        return ""
    minutes = task.elapsed / task.completed * task.remaining / 60 if task.remaining else 0.0
    return f", about {minutes:.0f} min left"


def _gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _stopped(study: Study, out: Path) -> RunInterruptedError:
    cells = grid(study)
    done = len(cells) - len(unfinished(study, out))
    return RunInterruptedError(
        f"Stopped with {done} of {len(cells)} cells finished. Run the same command to go on."
    )
