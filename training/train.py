"""Trains an encoder in the stages that the configuration lists."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.progress import Progress
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from training.callbacks import Interruption
from training.checkpoints import last_checkpoint, replace_directory, writing
from training.config import AlignStage, HybridStage, RunConfig, StaticModel
from training.data_prepared import TOKENIZER, Prepared, write_json
from training.development_set import DevelopmentSet, development_set
from training.distributed import World, connected
from training.encoder import (
    build_static,
    build_transformer,
    load_encoder,
    quiet_loading,
    recompute_activations,
    weights_sha256,
)
from training.errors import RunError
from training.provenance import provenance
from training.run_data import RunData
from training.run_directory import (
    BASE,
    ENCODER,
    FACTS,
    LOG,
    PROVENANCE,
    RUN,
    RunPaths,
    check_prepared,
    open_run,
    public_name,
    without_places,
)
from training.stage_log import StageLog
from training.stage_run import StageRun
from training.start_table import start_table

__all__ = ["ENCODER", "PROVENANCE", "RUN", "Run", "TrainOptions", "check_prepared", "train"]


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How a run is done; nothing here changes what is computed.

    Attributes:
        cache: Directory of the teacher's vectors, shared by all runs.
        data_root: What the path of a development set is relative to.
        threads: CPU threads; 0 leaves the number to torch.
        resume: Go on with an interrupted run.
        force: Replace a run.
        tensorboard: Write TensorBoard's files beside the log.
    """

    cache: Path
    data_root: Path = Path()
    threads: int = 0
    resume: bool = False
    force: bool = False
    tensorboard: bool = False


class Run:
    """One training run.

    Args:
        config: What to train.
        prepared: On what.
        paths: Where to keep it.
        development: What stages are measured on, by number of stage.
        options: How it is done.
        progress: Shows how far it is.
    """

    def __init__(  # noqa: PLR0913 - what a run is made of
        self,
        config: RunConfig,
        prepared: Prepared,
        paths: RunPaths,
        development: Mapping[int, DevelopmentSet],
        options: TrainOptions,
        *,
        progress: Progress,
    ) -> None:
        self._config = config
        self._prepared = prepared
        self._paths = paths
        self._development = development
        self._options = options
        self._progress = progress
        self._data = RunData(config, prepared, options.cache, progress)
        self._interruption = Interruption()
        self._world = World.from_environment()

    def execute(self) -> Path:
        """Train all stages that are not done yet, and return the encoder's directory.

        Raises:
            RunError: A stage cannot start: no rows for it, no teacher, no backbone; or the disk
                is full.
            RunInterruptedError: The user stopped it; resuming gives what it would have given.
        """
        if not self._config.stage:
            raise RunError("The configuration lists no [[stage]], so there is nothing to train.")
        remaining = self._world.first(self._remaining)
        if remaining is None:
            return self._paths.encoder
        started = time.monotonic()
        for number in remaining:
            self._train_stage(number, self._config.stage[number])
        self._world.first(lambda: self._finish(round(time.monotonic() - started, 1)))
        return self._paths.encoder

    def _remaining(self) -> list[int] | None:
        """Return the numbers of the stages to train; ``None`` if the run is finished."""
        if (self._paths.root / PROVENANCE).is_file():
            return None
        directories = [self._paths.stage(n, s.name) for n, s in enumerate(self._config.stage)]
        return [n for n, path in enumerate(directories) if not (path / ENCODER).exists()]

    def _finish(self, wall_s: float) -> None:
        """Put the last stage's encoder in its place, and write where it is from."""
        with writing("The trained encoder", self._paths.encoder):
            self._write_encoder(wall_s)

    def _write_encoder(self, wall_s: float) -> None:
        directories = [self._paths.stage(n, s.name) for n, s in enumerate(self._config.stage)]
        stages = [json.loads((d / FACTS).read_text(encoding="utf-8")) for d in directories]
        draft = _draft_of(self._paths.encoder)
        shutil.copytree(directories[-1] / ENCODER, draft)
        replace_directory(draft, self._paths.encoder)
        facts = {
            "stages": stages,
            "teacher": next((s["teacher"] for s in stages if s["teacher"]), None),
            "base": self._base_facts(),
            "wall_s": wall_s,
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "threads": torch.get_num_threads(),
            "processes": self._world.size,
        }
        document = provenance(without_places(self._config), self._prepared.manifest, facts)
        write_json(self._paths.root / PROVENANCE, document)

    def _base_facts(self) -> object:
        path = self._paths.root / BASE
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def _encoder(self, number: int) -> SentenceTransformer:
        """Return the encoder a stage starts from: a new one, or the previous stage's.

        Raises:
            RunError: The backbone cannot be loaded, or is not the one the run was started with.
        """
        model = self._config.model
        if number:
            previous = self._config.stage[number - 1].name
            encoder = load_encoder(self._paths.stage(number - 1, previous) / ENCODER)
            return recompute_activations(encoder, model)
        if isinstance(model, StaticModel):
            tokenizer = Tokenizer.from_file(str(self._prepared.path / TOKENIZER))
            encoder = build_static(model, tokenizer, self._config.seed)
            if model.start_from is not None:
                start = load_encoder(Path(model.start_from))
                start_table(encoder, start, rms=model.init_std)
                self._remember_base(model.start_from, start)
            return encoder
        encoder = build_transformer(model)
        self._remember_base(model.base, encoder)
        return encoder

    def _remember_base(self, place: str, encoder: SentenceTransformer) -> None:
        """Note which weights the run starts from, or check that they are those it started from."""
        facts = {"name": public_name(place), "sha256": weights_sha256(encoder)}
        self._world.first(lambda: self._write_or_check_base(facts))

    def _write_or_check_base(self, facts: dict[str, str]) -> None:
        known = self._base_facts()
        if known is None:
            write_json(self._paths.root / BASE, facts)
        elif known != facts:
            raise RunError(
                f"The encoder {facts['name']!r} has other weights than when the run was started, "
                "so it cannot be resumed. Put the old ones back, or start again with --force."
            )

    def _train_stage(self, number: int, stage: AlignStage | HybridStage) -> None:
        directory = self._paths.stage(number, stage.name)
        checkpoint = self._world.first(lambda: self._checkpoint(directory))
        resumed = int(checkpoint.name.rpartition("-")[2]) if checkpoint else None
        board = self._paths.tensorboard(number, stage.name) if self._options.tensorboard else None
        with StageLog(
            directory / LOG, resumed=resumed, tensorboard=board, writes=self._world.is_first
        ) as log:
            encoder = self._encoder(number)
            work = StageRun(number, self._config, self._data, encoder, self._progress)
            facts = work.train(
                directory, checkpoint, log, self._development.get(number), self._interruption
            )
        self._world.first(lambda: _keep_stage(encoder, facts, directory, stage.name))

    def _checkpoint(self, directory: Path) -> Path | None:
        """Return what a stage goes on from; its directory is there afterwards."""
        begun = directory.exists()
        directory.mkdir(parents=True, exist_ok=True)
        checkpoint = last_checkpoint(directory, self._tell)
        if checkpoint is None and begun and self._options.resume:
            self._tell(f"{directory} has no complete checkpoint, so the stage starts again.")
        return checkpoint

    def _tell(self, sentence: str) -> None:
        self._progress.console.print(sentence, soft_wrap=True, highlight=False, markup=False)


def _draft_of(target: Path) -> Path:
    """Return where a directory is filled before it is put in its place, without what is there."""
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    return draft


def _keep_stage(
    encoder: SentenceTransformer, facts: dict[str, object], directory: Path, name: str
) -> None:
    """Write what a stage leaves, and remove its checkpoints."""
    with writing(f"The encoder of stage {name!r}", directory):
        write_json(directory / FACTS, facts)
        _save_encoder(encoder, directory / ENCODER)
    for old in directory.glob("checkpoint-*"):
        shutil.rmtree(old)


def _save_encoder(encoder: SentenceTransformer, target: Path) -> None:
    """Save an encoder, completely or not at all."""
    draft = _draft_of(target)
    encoder.save_pretrained(str(draft), create_model_card=False)
    replace_directory(draft, target)


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
    development = {
        number: development_set(stage.early_stopping, config, prepared, options.data_root)
        for number, stage in enumerate(config.stage)
        if stage.early_stopping is not None
    }
    world = World.from_environment()
    open_here = partial(
        open_run,
        config,
        prepared,
        root,
        development,
        resume=options.resume,
        force=options.force,
        n_processes=world.size,
    )
    with connected(world):
        paths = world.first(open_here)
        run = Run(config, prepared, paths, development, options, progress=progress)
        return run.execute()
