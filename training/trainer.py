"""The trainer of sentence-transformers with this project's habits.

Checkpoints are complete or absent, hold nothing but what training changes (no frozen backbone, no
pickled arguments, no model card), and a full disk is told in a sentence.
"""

from __future__ import annotations

import bisect
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import torch
from datasets import Dataset
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

from training.checkpoints import (
    DRAFT,
    WEIGHTS,
    checkpoint_path,
    load_weights,
    prune,
    publish,
    save_weights,
    writing,
)
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


class KeptInCheckpoints(Protocol):
    """Something that changes during a stage and must come back when it is resumed."""

    def save(self, checkpoint: Path) -> None:
        """Write its files into a directory."""
        ...

    def load(self, checkpoint: Path) -> None:
        """Read them back."""
        ...


class StageTrainer(SentenceTransformerTrainer):
    """``SentenceTransformerTrainer`` whose checkpoints are those of ``training.checkpoints``.

    Attributes:
        kept: What is kept in checkpoints beside the weights and the trainer's own state.
    """

    kept: KeptInCheckpoints | None = None
    _draft: Path | None = None

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
        """Return the norm of the gradient, ``None`` where it is neither clipped by nor logged.

        For a table of 25 million numbers it costs as much as the update.
        """
        step = self.state.global_step + 1
        if self.args.max_grad_norm == 0 and step % int(self.args.logging_steps):
            return None
        norm = gradient_norm(model) if grad_norm is None else grad_norm
        return float(norm)

    def _get_output_dir(self, trial: object) -> str:
        """Return the draft's directory while a checkpoint is written, else the stage's."""
        return str(self._draft or self.args.output_dir)

    def _save_checkpoint(self, model: torch.nn.Module, trial: object) -> None:
        """Write a checkpoint, complete or not at all.

        Raises:
            RunError: It cannot be written; the ones before it stay.
        """
        step = self.state.global_step
        directory = Path(str(self.args.output_dir))
        self._draft = directory / DRAFT
        try:
            with writing(f"The checkpoint of step {step}", self._draft):
                if self.args.should_save:
                    shutil.rmtree(self._draft, ignore_errors=True)
                self.accelerator.wait_for_everyone()
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    publish(checkpoint_path(self._draft, step), checkpoint_path(directory, step))
                    prune(directory, self.args.save_total_limit or 1)
        finally:
            if self.args.should_save:
                shutil.rmtree(self._draft, ignore_errors=True)
            self._draft = None

    def _save(self, output_dir: str | None = None, state_dict: object = None) -> None:
        del state_dict
        target = Path(output_dir or str(self.args.output_dir))
        target.mkdir(parents=True, exist_ok=True)
        assert isinstance(self.model, SentenceTransformer)
        save_weights(self.model, target / WEIGHTS)
        if self.kept is not None:
            self.kept.save(target)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        del model
        checkpoint = Path(resume_from_checkpoint)
        assert isinstance(self.model, SentenceTransformer)
        load_weights(self.model, checkpoint / WEIGHTS)
        if self.kept is not None:
            self.kept.load(checkpoint)


def gradient_norm(model: torch.nn.Module) -> float:
    """Return the Euclidean norm of all gradients; those of sparse tables count where they are."""
    norms = [
        torch.linalg.vector_norm(g.coalesce().values() if g.is_sparse else g, dtype=torch.float64)
        for g in (parameter.grad for parameter in model.parameters())
        if g is not None
    ]
    return float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0


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
        # Unless told, accelerate lets the processes of torchrun train apart where no GPU is seen.
        use_cpu=not torch.cuda.is_available(),
        seed=seed,
        data_seed=seed,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=stage.keep_checkpoints,
        logging_steps=max(1, min(50, stage.steps // 20)),
        # Otherwise a loss that is no number is replaced by the mean of those before it.
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        dataloader_pin_memory=torch.cuda.is_available(),
        batch_sampler=samplers.of_dataset,
        multi_dataset_batch_sampler=samplers.of_datasets,
    )
