"""What happens between two steps: Ctrl-C is heard, the bar moves, the log grows.

The first Ctrl-C ends the run after the current step with a checkpoint, the second one at once.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.progress import Progress
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.distributed import World
from training.errors import RunError
from training.stage_log import StageLog


class Interruption:
    """Whether the user asked to stop."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM as a request to stop; a second one stops at once.

        Outside the main thread, where Python lets nobody take signals, nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def request(number: int, _: FrameType | None) -> None:
            self.requested = True
            signal.signal(number, before[signal.Signals(number)])

        for number in before:
            signal.signal(number, request)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class StopOnRequest(TrainerCallback):
    """Writes a checkpoint and stops after the step in which the user asked for it.

    Args:
        interruption: Whether the user asked for it, in this process.
        world: Of whose processes one that was asked is enough: a signal comes to some of them
            before a step ends and to others after, but all must stop after the same.
    """

    def __init__(self, interruption: Interruption, world: World | None = None) -> None:
        self._interruption = interruption
        self._world = world or World()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Look whether to stop."""
        if self._world.any(here=self._interruption.requested):
            self._interruption.requested = True
            control.should_save = True
            control.should_training_stop = True


class ShowAndLog(TrainerCallback):
    """Moves the progress bar and logs what the trainer reports.

    Args:
        progress: Where the bar is shown.
        title: Name of the stage.
        log: Where the numbers go.
    """

    def __init__(self, progress: Progress, title: str, log: StageLog) -> None:
        self._progress = progress
        self._title = title
        self._task = progress.add_task(title, total=None)
        self._log = log

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=state.global_step, total=state.max_steps)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        """Log, and show the loss beside the bar.

        Raises:
            RunError: The loss is no number any more.
        """
        if not logs:
            return
        loss = logs.get("loss")
        if loss is not None and not math.isfinite(loss):
            raise RunError(
                f"{self._title}: the loss is {loss} at step {state.global_step}, so the weights "
                "are spoilt. Lower learning_rate or set max_grad_norm, and start again."
            )
        self._log.write(state.global_step, logs)
        if loss is not None:
            self._progress.update(self._task, description=f"{self._title}, loss {loss:.3f}")
