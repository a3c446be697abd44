"""The cells of a study, and how the encoder of one is trained."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import Progress

from training.data_prepared import PairTable, Prepared
from training.errors import ConfigError
from training.study.config import Batches, Study
from training.train import TrainOptions, train


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One point of the grid.

    Attributes:
        batches: Kind of batches.
        loss_temperature: Of the hybrid stage.
        alpha: Share of monolingual batches, or members.
        seed: Of training.
    """

    batches: Batches
    loss_temperature: float
    alpha: float
    seed: int

    @property
    def id(self) -> str:
        """Name of its directory."""
        return f"{self.batches}-t{self.loss_temperature:g}-a{self.alpha:g}-s{self.seed}"


def grid(study: Study) -> list[Cell]:
    """Return all cells, seed by seed, so that an unfinished study has whole seeds."""
    config = study.config
    arms = [(config.hybrid.loss_temperature, config.batches)]
    arms += [(arm.loss_temperature, arm.batches) for arm in config.arm]
    return [
        Cell(batches, temperature, alpha, seed)
        for seed in config.seeds
        for temperature, kinds in arms
        for batches in kinds
        for alpha in config.alphas
    ]


@dataclass(frozen=True, slots=True)
class StudyPrepared(Prepared):
    """Prepared data with the pair sources of a study only; ``None`` keeps all."""

    only: tuple[str, ...] | None = None

    def pairs(self) -> PairTable:
        """Return the question-passage entries of the study's sources."""
        table = PairTable(**self._arrays("pairs.npz"))
        if self.only is None:
            return table
        sources = self.config.data.pairs
        kept = [number for number, source in enumerate(sources) if source.label in self.only]
        mask = np.isin(table.source, kept)
        if not mask.any():
            raise ConfigError(f"The prepared data hold no pair of {', '.join(self.only)}.")
        return PairTable(**{name: getattr(table, name)[mask] for name in PairTable.__slots__})


def for_seed(prepared: Prepared, study: Study, seed: int) -> StudyPrepared:
    """Return prepared data for a run with another seed.

    The seed of a run decides caps and vocabulary when data are prepared, and every draw when they
    are trained on. A study varies the second and keeps the first.
    """
    config = prepared.config.model_copy(update={"seed": seed})
    return StudyPrepared(prepared.path, prepared.manifest, config, only=study.config.pairs)


def train_shared(study: Study, seed: int, prepared: Prepared, out: Path, cache: Path) -> None:
    """Train the stages that all cells of a seed share, unless that is done."""
    root = shared_directory(out, seed)
    if not study.config.shared or (root / "provenance.json").is_file():
        return
    train(
        study.run(seed, None),
        for_seed(prepared, study, seed),
        root,
        TrainOptions(cache=cache, resume=True),
        progress=Progress(disable=True),
    )


def train_cell(study: Study, cell: Cell, prepared: Prepared, out: Path, cache: Path) -> Path:
    """Train the encoder of a cell, going on where it was interrupted; returns its directory.

    Raises:
        RunError: As ``training.train.train``.
        RunInterruptedError: The user stopped it.
    """
    run = cell_directory(study, out, cell) / "run"
    if not run.exists() and study.config.shared:
        run.parent.mkdir(parents=True, exist_ok=True)
        draft = run.with_name(".run.draft")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(shared_directory(out, cell.seed) / "stages", draft / "stages")
        draft.replace(run)
    hybrid = study.config.hybrid.model_copy(
        update={
            "alpha": cell.alpha,
            "batches": cell.batches,
            "loss_temperature": cell.loss_temperature,
        }
    )
    return train(
        study.run(cell.seed, hybrid),
        for_seed(prepared, study, cell.seed),
        run,
        TrainOptions(cache=cache, resume=True),
        progress=Progress(disable=True),
    )


def shared_directory(out: Path, seed: int) -> Path:
    """Return where the shared stages of a seed are trained."""
    return out / "shared" / f"seed-{seed}"


def cell_directory(study: Study, out: Path, cell: Cell) -> Path:
    """Return where a cell keeps its things."""
    return out / study.config.name / "cells" / cell.id


def cell_facts(cell: Cell) -> dict[str, object]:
    """Return the JSON object of a cell."""
    return {"id": cell.id, **dataclasses.asdict(cell)}
