"""The log of a stage: JSON lines, and TensorBoard's files beside them where they are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from training.checkpoints import writing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class StageLog:
    """Appends what is measured at a step; a context manager.

    Args:
        path: JSON lines, one object a line: ``step``, and numbers by name.
        resumed: Step that the stage goes on from, ``None`` if it begins. What an interrupted run
            logged after that step is dropped, because it is done again.
        tensorboard: Directory of TensorBoard's files; ``None`` writes none.
        writes: Whether this process writes; of several that train together only one does.
    """

    def __init__(
        self,
        path: Path,
        *,
        resumed: int | None = None,
        tensorboard: Path | None = None,
        writes: bool = True,
    ) -> None:
        self._path = path
        self._writes = writes
        self._board: SummaryWriter | None = None
        if not writes:
            return
        with writing("The log", path):
            kept = [] if resumed is None else _lines_until(path, resumed)
            path.write_text("".join(kept), encoding="utf-8")
        if tensorboard is not None:
            self._board = _open_board(tensorboard, -1 if resumed is None else resumed)

    def __enter__(self) -> StageLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._board is not None:
            self._board.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log the numbers of a step.

        Raises:
            RunError: The log cannot be written.
        """
        if not self._writes:
            return
        with writing("The log", self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()


def _open_board(directory: Path, resumed: int) -> SummaryWriter:
    # Imported here, because it takes a second and few runs ask for it.
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(directory), purge_step=resumed + 1)


def _lines_until(path: Path, step: int) -> list[str]:
    """Return the complete lines of a log up to a step; a line that was cut off is not one."""
    if not path.exists():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            logged = json.loads(line)["step"]
        except ValueError:
            continue
        if logged <= step and line.endswith("\n"):
            kept.append(line)
    return kept
