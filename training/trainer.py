"""The trainer of sentence-transformers with this project's habits.

Checkpoints hold no pickled arguments and no model card; the log is JSON lines; the first Ctrl-C
ends the run after the current step with a checkpoint, the second one at once.
"""

from __future__ import annotations

import bisect
import json
import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import FrameType

import torch
from datasets import Dataset
from rich.progress import Progress
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import (
    DefaultBatchSampler,
    MultiDatasetBatchSamplers,
    MultiDatasetDefaultBatchSampler,
)
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import BatchSampler, ConcatDataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from training.config import Stage


@dataclass(frozen=True, slots=True)
class Samplers:
    """What draws the batches, in the form of the training arguments.

    Attributes:
        of_dataset: Makes the batch sampler of a dataset.
        of_datasets: Makes the sampler that chooses between two datasets; one dataset needs none.
    """

    of_dataset: Callable[..., DefaultBatchSampler]
    of_datasets: Callable[..., MultiDatasetDefaultBatchSampler] | MultiDatasetBatchSamplers = (
        MultiDatasetBatchSamplers.PROPORTIONAL
    )


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
    """Writes a checkpoint and stops after the step in which the user asked for it."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Look whether to stop."""
        if self._interruption.requested:
            control.should_save = True
            control.should_training_stop = True


class ShowAndLog(TrainerCallback):
    """Moves the progress bar and appends what the trainer logs to a file.

    Args:
        progress: Where the bar is shown.
        title: Name of the stage.
        path: JSON lines.
    """

    def __init__(self, progress: Progress, title: str, path: Path) -> None:
        self._progress = progress
        self._title = title
        self._task = progress.add_task(title, total=None)
        self._path = path

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
        """Append one line, and show the loss beside the bar."""
        if not logs or not state.is_world_process_zero:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **logs}) + "\n")
        if "loss" in logs:
            self._progress.update(self._task, description=f"{self._title}, loss {logs['loss']:.3f}")


class StageTrainer(SentenceTransformerTrainer):
    """``SentenceTransformerTrainer`` without model card and without pickled arguments."""

    def add_model_card_callback(self, default_args_dict: dict[str, object]) -> None:
        """Do nothing: the model card of this project is written from its own reports."""

    def get_multi_dataset_batch_sampler(
        self,
        dataset: ConcatDataset[object],
        batch_samplers: list[BatchSampler],
        generator: torch.Generator | None = None,
        seed: int | None = 0,
    ) -> BatchSampler:
        """Return what chooses between two datasets, and make their rows be fetched by the batch.

        torch's ConcatDataset hands out one row at a time, which cost a third of every step of a
        static encoder (0.29 s for 2048 rows, 0.05 s by the batch).
        """
        dataset.__getitems__ = partial(rows_of_one_dataset, dataset)  # type: ignore[attr-defined]
        return super().get_multi_dataset_batch_sampler(dataset, batch_samplers, generator, seed)

    @cached_property
    def _parts(self) -> dict[str, list[Tensor]]:
        return {}

    def track_loss_components(self, loss: dict[str, Tensor]) -> None:
        """Remember the parts of a step's loss.

        The base class divides every part by the number of all steps; here a step may have parts
        that another has not, so each is averaged over its own steps.
        """
        for name, value in loss.items():
            self._parts.setdefault(name, []).append(value.detach())

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, and add the mean of every part of the loss since the last time."""
        means = {name: float(torch.stack(seen).mean()) for name, seen in self._parts.items()}
        self._parts.clear()
        super().log({**logs, **means}, start_time)

    def _get_grad_norm(
        self, model: torch.nn.Module, grad_norm: float | None = None
    ) -> float | None:
        """Return the norm where gradients are clipped by it, and do not compute it otherwise.

        For a table of 25 million numbers it costs as much as the update, and it has no kernel for
        sparse gradients.
        """
        if self.args.max_grad_norm == 0:
            return None
        norm: float | None = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        return norm

    def _save(self, output_dir: str | None = None, state_dict: object = None) -> None:
        del state_dict
        target = output_dir or self.args.output_dir
        assert isinstance(self.model, SentenceTransformer)
        self.model.save_pretrained(str(target), create_model_card=False)


def rows_of_one_dataset(datasets: ConcatDataset[object], positions: list[int]) -> list[object]:
    """Return the rows at these positions, all of which are in one and the same dataset."""
    number = bisect.bisect_right(datasets.cumulative_sizes, positions[0])
    start = datasets.cumulative_sizes[number - 1] if number else 0
    dataset = datasets.datasets[number]
    assert isinstance(dataset, Dataset), "stages train on such datasets only"
    rows: list[object] = dataset.__getitems__([position - start for position in positions])
    return rows


def rate(step: int, stage: Stage) -> float:
    """Return the share of the highest learning rate at a step, in [0, 1].

    It rises linearly from 1 / n_warmup to 1, then falls to ``final_share`` at the last step.
    """
    n_warmup = math.ceil(stage.steps * stage.warmup_share)
    if step < n_warmup:
        return (step + 1) / n_warmup
    if stage.schedule == "constant":
        return 1.0
    done = min(1.0, (step - n_warmup) / max(1, stage.steps - n_warmup))
    left = 1.0 - done if stage.schedule == "linear" else (1.0 + math.cos(math.pi * done)) / 2
    return stage.final_share + (1.0 - stage.final_share) * left


def optimizer_and_schedule(
    encoder: SentenceTransformer, stage: Stage
) -> tuple[Optimizer, LambdaLR]:
    """Return the optimiser of a stage with its learning-rate schedule.

    Weight decay leaves out biases and normalisation weights, which have one dimension.
    """
    parameters = [p for p in encoder.parameters() if p.requires_grad]
    optimizer: Optimizer
    if stage.optimizer == "sparse_adam":
        optimizer = torch.optim.SparseAdam(
            parameters, lr=stage.learning_rate, betas=stage.adam_betas, eps=1e-9
        )
    else:
        optimizer = torch.optim.AdamW(
            [
                {
                    "params": [p for p in parameters if p.ndim > 1],
                    "weight_decay": stage.weight_decay,
                },
                {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=stage.learning_rate,
            betas=stage.adam_betas,
            eps=1e-9,
            fused=True,
        )
    return optimizer, LambdaLR(optimizer, lambda step: rate(step, stage))


def training_arguments(
    directory: Path, stage: Stage, seed: int, samplers: Samplers
) -> SentenceTransformerTrainingArguments:
    """Return the trainer's arguments for a stage.

    Args:
        directory: Where checkpoints go.
        stage: Steps, batch and precision.
        seed: The run's.
        samplers: What draws the batches.
    """
    every = max(1, math.ceil(stage.steps / stage.checkpoints))
    return SentenceTransformerTrainingArguments(
        output_dir=str(directory),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size,
        learning_rate=stage.learning_rate,
        max_grad_norm=stage.max_grad_norm,
        bf16=stage.precision == "bfloat16",
        seed=seed,
        data_seed=seed,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=stage.keep_checkpoints,
        logging_steps=max(1, min(50, stage.steps // 20)),
        disable_tqdm=True,
        report_to="none",
        dataloader_pin_memory=torch.cuda.is_available(),
        batch_sampler=samplers.of_dataset,
        multi_dataset_batch_sampler=samplers.of_datasets,
    )


def last_checkpoint(directory: Path) -> Path | None:
    """Return the last complete checkpoint of a stage; ``None`` if there is none.

    The trainer writes its state last, so that a checkpoint without it was cut off.
    """
    complete = [
        path for path in directory.glob("checkpoint-*") if (path / TRAINER_STATE_NAME).is_file()
    ]
    return max(complete, key=lambda path: int(path.name.removeprefix("checkpoint-")), default=None)
