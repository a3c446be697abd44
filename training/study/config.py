"""The TOML file of a study: a base run, the grid, and what it is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from training.calibration_config import CalibrationConfig
from training.config import (
    AnyModel,
    AnyStage,
    Count,
    HybridStage,
    RunConfig,
    Share,
    Table,
    load_config,
)
from training.config_data import Positive
from training.config_file import read_toml
from training.errors import ConfigError

Batches = Literal["homogeneous", "mixed"]


class Arm(Table):
    """Further cells with another loss temperature, at every alpha and seed of the grid.

    Attributes:
        loss_temperature: Instead of the template's.
        batches: Kinds of batches it is run for.
    """

    loss_temperature: Positive
    batches: tuple[Batches, ...] = Field(default=("homogeneous",), min_length=1)


class EvaluationTable(Table):
    """What is measured.

    Attributes:
        path: Retrieval set in LAReQA form, a directory relative to the data root; its passages
            should carry ``title``, by which articles are split.
        depth: Number of hits that are served.
        english: Language whose labels zero-shot calibration has.
    """

    path: str
    depth: Count = 20
    english: str = "en"


class StudyConfig(Table):
    """A whole study.

    Attributes:
        name: Name in the report.
        base: TOML file of a run, relative to the study's own: languages, data, vocabulary and
            the seed of the prepared data.
        pairs: Labels of the pair sources that hybrid batches draw from; all of the base's where
            it is ``None``.
        model: Instead of the base's model.
        shared: Stages that are trained once a seed and shared by its cells.
        hybrid: What a cell trains; its alpha, batches and seed are the grid's.
        alphas: Grid.
        batches: Grid.
        seeds: Seeds of training; the data keep the seed of the base.
        arm: Further loss temperatures.
        evaluation: What is measured.
        calibration: Development sets of the transfer protocol; it is left out where this is
            ``None``.
        replicates: Number of bootstrap replicates.
    """

    name: str = Field(min_length=1, pattern=r"^[a-z0-9-]+$")
    base: str
    pairs: tuple[str, ...] | None = None
    model: AnyModel | None = None
    shared: tuple[AnyStage, ...] = ()
    hybrid: HybridStage
    alphas: tuple[Share, ...] = Field(default=(0.0, 0.25, 0.5, 0.75, 1.0), min_length=2)
    batches: tuple[Batches, ...] = Field(default=("homogeneous", "mixed"), min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(1, 2, 3), min_length=1)
    arm: tuple[Arm, ...] = ()
    evaluation: EvaluationTable
    calibration: CalibrationConfig | None = None
    replicates: Count = 2000

    @model_validator(mode="after")
    def _names_nothing_twice(self) -> StudyConfig:
        for name in ("alphas", "batches", "seeds"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"'{name}' names a value twice")
        temperatures = [arm.loss_temperature for arm in self.arm]
        if self.hybrid.loss_temperature in temperatures or len(set(temperatures)) != len(self.arm):
            raise ValueError("every [[arm]] needs a loss_temperature of its own")
        return self


@dataclass(frozen=True, slots=True)
class Study:
    """A study with its base run, model and shared stages put in."""

    config: StudyConfig
    base: RunConfig

    def run(self, seed: int, hybrid: HybridStage | None) -> RunConfig:
        """Return the run of a cell, or the shared stages alone where ``hybrid`` is ``None``."""
        stages = (*self.config.shared, *(() if hybrid is None else (hybrid,)))
        raw = self.base.model_dump(mode="json")
        raw |= {"seed": seed, "stage": [stage.model_dump(mode="json") for stage in stages]}
        return RunConfig.model_validate(raw)


def load_study(path: Path) -> Study:
    """Return the study that a TOML file describes.

    Raises:
        ConfigError: It cannot be read, is not TOML, a key or value is wrong, or the base run
            has no such pair source.
    """
    config = _parse(read_toml(path, "study"), path)
    base = load_config(path.parent / config.base)
    if config.model is not None:
        base = base.model_copy(update={"model": config.model})
    known = {source.label for source in base.data.pairs}
    if unknown := sorted(set(config.pairs or ()) - known):
        raise ConfigError(
            f"{path}: 'pairs' names {', '.join(unknown)}, but the sources of {config.base} are "
            f"{', '.join(sorted(known)) or 'none'}."
        )
    return Study(config, base)


def _parse(raw: dict[str, Any], path: Path) -> StudyConfig:
    try:
        return StudyConfig.model_validate(raw)
    except ValidationError as error:
        problems = "\n".join(
            f"  {'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(f"{path} is no study that can be run:\n{problems}") from error
