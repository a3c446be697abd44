"""Trains an encoder in the stages that the configuration lists.

::

    run/
      run.json                   configuration and data it was started with
      stages/00-align/           log.jsonl, checkpoint-N while it runs, encoder/ once it is done
      encoder/                   the trained encoder, in sentence-transformers layout
      provenance.json            written last: a run without it is not finished
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import Progress
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers import PrinterCallback

from training.config import AlignStage, HybridStage, RunConfig, StaticModel
from training.data_prepared import MANIFEST, TOKENIZER, Prepared, write_json
from training.encoder import (
    build_static,
    build_transformer,
    leave_out_unknown,
    load_encoder,
    quiet_loading,
)
from training.errors import RunError, RunInterruptedError
from training.provenance import provenance
from training.stage_parts import PartsBuilder, RunData
from training.start_table import start_facts, start_table
from training.trainer import (
    Interruption,
    ShowAndLog,
    StageTrainer,
    StopOnRequest,
    last_checkpoint,
    optimizer_and_schedule,
    training_arguments,
)

RUN = "run.json"
PROVENANCE = "provenance.json"
ENCODER = "encoder"


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


def open_run(
    config: RunConfig, prepared: Prepared, root: Path, *, resume: bool, force: bool
) -> RunPaths:
    """Create the run's directory, or check that it is this very run's.

    Raises:
        RunError: It holds a run and neither ``resume`` nor ``force`` is set, or another run's
            configuration or data.
    """
    manifest = (prepared.path / MANIFEST).read_bytes()
    identity = {
        "config": config.model_dump(mode="json"),
        "prepared_sha256": hashlib.sha256(manifest).hexdigest(),
    }
    started = root / RUN
    if force and root.exists():
        shutil.rmtree(root)
    if started.exists():
        if not resume:
            raise RunError(
                f"{root} holds a run already: --resume goes on with it, --force ends it."
            )
        if json.loads(started.read_text(encoding="utf-8")) != identity:
            raise RunError(
                f"{root} was started with another configuration or other data, so it cannot be "
                "resumed. Give another directory, or --force to start again."
            )
    else:
        root.mkdir(parents=True, exist_ok=True)
        write_json(started, identity)
    return RunPaths(root)


class Run:
    """One training run.

    Args:
        config: What to train.
        prepared: On what.
        paths: Where to keep it.
        cache: Directory of the teacher's vectors.
        progress: Shows how far it is.
    """

    def __init__(
        self,
        config: RunConfig,
        prepared: Prepared,
        paths: RunPaths,
        *,
        cache: Path,
        progress: Progress,
    ) -> None:
        self._config = config
        self._prepared = prepared
        self._paths = paths
        self._progress = progress
        self._data = RunData(config, prepared, cache, progress)
        self._interruption = Interruption()

    def execute(self) -> Path:
        """Train all stages that are not done yet, and return the encoder's directory.

        Raises:
            RunError: A stage cannot start: no rows for it, no teacher, no backbone.
            RunInterruptedError: The user stopped it; resuming gives what it would have given.
        """
        torch.manual_seed(self._config.seed)
        started = time.monotonic()
        stages = []
        directory: Path | None = None
        for number, stage in enumerate(self._config.stage):
            directory = self._paths.stage(number, stage.name)
            if not (directory / ENCODER).exists():
                previous = self._config.stage[number - 1].name if number else None
                self._train_stage(number, stage, self._encoder(number, previous))
            stages.append(json.loads((directory / "facts.json").read_text(encoding="utf-8")))
        if directory is None:
            raise RunError("The configuration lists no [[stage]], so there is nothing to train.")
        shutil.copytree(directory / ENCODER, self._paths.encoder, dirs_exist_ok=True)
        facts = {
            "stages": stages,
            "start": start_facts(self._config),
            "teacher": next((s["teacher"] for s in stages if s["teacher"]), None),
            "wall_s": round(time.monotonic() - started, 1),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "threads": torch.get_num_threads(),
        }
        document = provenance(self._config, self._prepared.manifest, facts)
        write_json(self._paths.root / PROVENANCE, document)
        return self._paths.encoder

    def _encoder(self, number: int, previous: str | None) -> SentenceTransformer:
        """Return the encoder a stage starts from: a new one, or the previous stage's."""
        if previous is not None:
            return load_encoder(self._paths.stage(number - 1, previous) / ENCODER)
        model = self._config.model
        if isinstance(model, StaticModel):
            tokenizer = Tokenizer.from_file(str(self._prepared.path / TOKENIZER))
            encoder = build_static(model, tokenizer, self._config.seed)
            if model.start_from is not None:
                start_table(encoder, Path(model.start_from), rms=model.init_std)
            return encoder
        return build_transformer(model)

    def _train_stage(
        self, number: int, stage: AlignStage | HybridStage, encoder: SentenceTransformer
    ) -> None:
        directory = self._paths.stage(number, stage.name)
        directory.mkdir(parents=True, exist_ok=True)
        seed = self._config.seed + number
        if isinstance(self._config.model, StaticModel):
            leave_out_unknown(encoder, sparse=stage.optimizer == "sparse_adam")
        parts = PartsBuilder(self._config, self._data, encoder).build(stage, seed)
        checkpoint = last_checkpoint(directory)
        title = f"Stage {number + 1} of {len(self._config.stage)}: {stage.name}"
        trainer = StageTrainer(
            model=encoder,
            args=training_arguments(directory, stage, seed, parts.samplers),
            train_dataset=parts.dataset,
            loss=parts.objective,
            data_collator=parts.collator,  # type: ignore[arg-type]  # theirs tokenises, ours looks up
            optimizers=optimizer_and_schedule(encoder, stage),
            callbacks=[
                ShowAndLog(self._progress, title, directory / "log.jsonl"),
                StopOnRequest(self._interruption),
            ],
        )
        trainer.remove_callback(PrinterCallback)
        with self._interruption.listening():
            outcome = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if self._interruption.requested:
            raise RunInterruptedError(
                f"Stopped after step {trainer.state.global_step} of {stage.steps} of stage "
                f"{stage.name!r}. Run the same command with --resume to go on."
            )
        facts = {"name": stage.name, "teacher": self._data.teacher_name, **outcome.metrics}
        write_json(directory / "facts.json", facts)
        _save_encoder(encoder, directory / ENCODER)
        for old in directory.glob("checkpoint-*"):
            shutil.rmtree(old)


def _save_encoder(encoder: SentenceTransformer, target: Path) -> None:
    """Save an encoder, completely or not at all."""
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    encoder.save_pretrained(str(draft), create_model_card=False)
    draft.replace(target)


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How a run is done; nothing here changes what is computed.

    Attributes:
        cache: Directory of the teacher's vectors, shared by all runs.
        threads: CPU threads; 0 leaves the number to torch.
        resume: Go on with an interrupted run.
        force: Replace a run.
    """

    cache: Path
    threads: int = 0
    resume: bool = False
    force: bool = False


def train(
    config: RunConfig,
    prepared: Prepared,
    root: Path,
    options: TrainOptions,
    *,
    progress: Progress,
) -> Path:
    """Train an encoder, and return its directory.

    Args:
        config: What to train.
        prepared: On what.
        root: Directory of the run.
        options: How.
        progress: Shows how far it is.

    Raises:
        RunError: It cannot start or go on; the message says what to do.
        RunInterruptedError: The user stopped it.
    """
    quiet_loading()
    if options.threads:
        torch.set_num_threads(options.threads)
    check_prepared(config, prepared)
    paths = open_run(config, prepared, root, resume=options.resume, force=options.force)
    return Run(config, prepared, paths, cache=options.cache, progress=progress).execute()
