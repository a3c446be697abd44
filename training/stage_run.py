"""Trains one stage: puts encoder, data, optimiser, log and early stopping together."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from rich.progress import Progress
from sentence_transformers import SentenceTransformer
from transformers import PrinterCallback, TrainerCallback

from training.callbacks import Interruption, ShowAndLog, StopOnRequest
from training.config import AlignStage, HybridStage, RunConfig, StaticModel
from training.development import EarlyStop, Gauge
from training.development_set import DevelopmentSet
from training.distributed import World
from training.encoder import leave_out_unknown, prefixes_of
from training.errors import RunInterruptedError
from training.lora import Adapters
from training.run_data import RunData
from training.stage_log import StageLog
from training.stage_parts import PartsBuilder
from training.trainer import StageTrainer, optimizer_and_schedule, training_arguments


class StageRun:
    """One stage of a run.

    Args:
        number: Its position, from 0.
        config: The run.
        data: The run's data.
        encoder: What it starts from; trained in place.
        progress: Shows how far it is.
    """

    def __init__(
        self,
        number: int,
        config: RunConfig,
        data: RunData,
        encoder: SentenceTransformer,
        progress: Progress,
    ) -> None:
        self._stage: AlignStage | HybridStage = config.stage[number]
        self._title = f"Stage {number + 1} of {len(config.stage)}: {self._stage.name}"
        self._seed = config.seed + number
        self._config = config
        self._data = data
        self._encoder = encoder
        self._progress = progress
        self._world = World.from_environment()

    def train(
        self,
        directory: Path,
        checkpoint: Path | None,
        log: StageLog,
        development: DevelopmentSet | None,
        interruption: Interruption,
    ) -> dict[str, object]:
        """Train, and return what the provenance says of it.

        Args:
            directory: Where checkpoints go.
            checkpoint: What to go on from.
            log: Where numbers go.
            development: What early stopping measures on, where the stage has it.
            interruption: Whether the user asked to stop.

        Raises:
            RunError: It cannot start, or cannot write.
            RunInterruptedError: The user stopped it; a checkpoint was written.
        """
        adapters = self._prepare_encoder()
        early = self._early_stop(development, log)
        trainer = self._trainer(directory, log, early, interruption)
        metrics: dict[str, float] = {}
        if not (early and checkpoint and _had_stopped(early, checkpoint)):
            with interruption.listening():
                resume = str(checkpoint) if checkpoint else None
                metrics = trainer.train(resume_from_checkpoint=resume).metrics
            if self._world.any(here=interruption.requested):
                raise RunInterruptedError(
                    f"Stopped after step {trainer.state.global_step} of {self._stage.steps} of "
                    f"stage {self._stage.name!r}. Run the same command with --resume to go on."
                )
        facts: dict[str, object] = {"name": self._stage.name, "teacher": self._data.teacher_name}
        if early is not None:
            early.restore_best()
            facts["development"] = early.facts()
        if adapters is not None:
            adapters.merge()
        return facts | metrics

    def _prepare_encoder(self) -> Adapters | None:
        model = self._config.model
        if isinstance(model, StaticModel):
            leave_out_unknown(self._encoder, sparse=self._stage.optimizer == "sparse_adam")
            return None
        if model.lora is None:
            return None
        # Adapters begin at random, and a resumed run must begin with the same.
        torch.manual_seed(self._seed)
        return Adapters(self._encoder, model.lora)

    def _early_stop(self, development: DevelopmentSet | None, log: StageLog) -> EarlyStop | None:
        settings = self._stage.early_stopping
        if settings is None:
            return None
        assert development is not None, "every stage that asks for one has got it"
        prefixes = prefixes_of(self._config.model)
        gauge = Gauge(self._encoder, development, prefixes, self._progress)
        return EarlyStop(
            settings, development, partial(self._world.first, gauge), self._encoder, log
        )

    def _trainer(
        self,
        directory: Path,
        log: StageLog,
        early: EarlyStop | None,
        interruption: Interruption,
    ) -> StageTrainer:
        parts = PartsBuilder(self._config, self._data, self._encoder).build(self._stage, self._seed)
        callbacks: list[TrainerCallback] = [ShowAndLog(self._progress, self._title, log)]
        callbacks += [early] if early is not None else []
        trainer = StageTrainer(
            model=self._encoder,
            args=training_arguments(directory, self._stage, self._seed, parts.samplers),
            train_dataset=parts.dataset,
            loss=parts.objective,
            data_collator=parts.collator,  # type: ignore[arg-type]  # theirs tokenises, ours looks up
            optimizers=optimizer_and_schedule(self._encoder, self._stage),
            callbacks=[*callbacks, StopOnRequest(interruption, self._world)],
        )
        trainer.kept = early
        trainer.remove_callback(PrinterCallback)
        return trainer


def _had_stopped(early: EarlyStop, checkpoint: Path) -> bool:
    """Return whether the stage had come to its end when the checkpoint was written."""
    early.load(checkpoint)
    return early.stopped
