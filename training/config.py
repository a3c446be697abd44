"""The TOML file of a run: one frozen model per table, unknown keys are errors.

It knows no framework and no machine: paths in it are relative to the data root that the command
line gives. Everything that decides what is trained stands here, so that a run can be repeated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, ValidationError, model_validator

from training.config_data import (
    Count,
    DataConfig,
    LexiconSource,
    NonNegative,
    PairSource,
    ParallelSource,
    Positive,
    Share,
    Source,
    Table,
    VocabularyConfig,
)
from training.config_development import EarlyStopping
from training.config_file import parse_toml, read_over_base
from training.config_stage import AlignLoss, AlignMix, AlignStage, HybridStage, Stage
from training.errors import ConfigError

__all__ = [
    "AlignLoss",
    "AlignMix",
    "AlignStage",
    "Count",
    "DataConfig",
    "EarlyStopping",
    "HybridStage",
    "LexiconSource",
    "LoraConfig",
    "NonNegative",
    "PairSource",
    "ParallelSource",
    "RunConfig",
    "Share",
    "Source",
    "Stage",
    "StaticModel",
    "Table",
    "TeacherConfig",
    "TransformerModel",
    "VocabularyConfig",
    "load_config",
    "parse_config",
    "with_base",
]


class StaticModel(Table):
    """A table of one vector per subword; a text is the normalised mean of its subwords.

    Attributes:
        dim: Number of dimensions.
        max_length: Number of subwords that are read of a text.
        init_std: Standard deviation of the normal draw that fills the table.
        dropout: Probability that a subword of a training text is left out.
        start_from: Directory of a trained static encoder to start from, in place of a random
            table; its dimensions must be the same, its vocabulary may be another.
    """

    kind: Literal["static"]
    dim: Count = 384
    max_length: Count = 512
    init_std: Positive = 0.1
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    start_from: str | None = None


class LoraConfig(Table):
    """Low-rank adapters: the backbone is frozen, and their product is added to some of its weights.

    They are merged into the backbone at the end of every stage, so that what a stage leaves is an
    encoder like any other. Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685.

    Attributes:
        rank: Inner dimension of an adapter.
        alpha: The product is multiplied by ``alpha / rank``.
        dropout: Probability that an input of an adapter is left out.
        target_modules: Ends of the names of the layers that get one; empty leaves it to peft, which
            knows the usual backbones.
    """

    rank: Count = 16
    alpha: Positive = 32.0
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    target_modules: tuple[str, ...] = ()


class TransformerModel(Table):
    """Any transformers backbone.

    Attributes:
        base: Hub id or local directory: a plain backbone, or a sentence-transformers model whose
            backbone is taken.
        base_revision: Branch, tag or commit at the hub.
        pooling: How token vectors become one vector.
        max_length: Number of tokens that are read of a text.
        query_prefix: Put before every query.
        passage_prefix: Put before every passage.
        gradient_checkpointing: Recompute activations in the backward pass, to save memory.
        lora: Train low-rank adapters instead of the backbone itself.
    """

    kind: Literal["transformer"]
    base: str
    base_revision: str | None = None
    pooling: Literal["mean", "cls"] = "mean"
    max_length: Count = 256
    query_prefix: str = ""
    passage_prefix: str = ""
    gradient_checkpointing: bool = False
    lora: LoraConfig | None = None


class TeacherConfig(Table):
    """The encoder whose English vectors an ``align`` stage imitates.

    Attributes:
        model: Sentence-transformers hub id or directory.
        package: Installed Python package that carries the model and has ``get_model_path()``.
        revision: Branch, tag or commit at the hub.
        max_length: Number of tokens it reads of a text.
        batch_size: Texts per forward pass.
        language: Language whose side it embeds.
    """

    model: str | None = None
    package: str | None = None
    revision: str | None = None
    max_length: Count = 128
    batch_size: Count = 128
    language: str = "en"

    @model_validator(mode="after")
    def _exactly_one_origin(self) -> TeacherConfig:
        if (self.model is None) == (self.package is None):
            raise ValueError("give exactly one of 'model' and 'package'")
        return self


AnyModel: TypeAlias = Annotated[StaticModel | TransformerModel, Field(discriminator="kind")]
AnyStage: TypeAlias = Annotated[AlignStage | HybridStage, Field(discriminator="name")]


class RunConfig(Table):
    """A whole run.

    Attributes:
        name: Name of the encoder, for people.
        languages: BCP-47 codes it is trained for.
        language_weights: How much more often a language is drawn than another; 1 where a
            language is not named.
        seed: Decides every random draw.
    """

    name: str = Field(min_length=1)
    languages: tuple[str, ...] = Field(min_length=1)
    language_weights: dict[str, Positive] = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0)] = 0
    data: DataConfig
    model: AnyModel
    vocabulary: VocabularyConfig = VocabularyConfig()
    teacher: TeacherConfig | None = None
    stage: tuple[AnyStage, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> RunConfig:
        if len(set(self.languages)) != len(self.languages):
            raise ValueError("'languages' names a language twice")
        if strangers := set(self.language_weights) - set(self.languages):
            raise ValueError(f"language_weights names {sorted(strangers)}, not among 'languages'")
        if self.teacher is None and any(loss.w_distill > 0 for loss in self.align_losses):
            raise ValueError("a stage has w_distill > 0, but there is no [teacher]")
        if self.model.kind != "static" and any(s.optimizer == "sparse_adam" for s in self.stage):
            raise ValueError("optimizer 'sparse_adam' works for models of kind 'static' only")
        return self

    @model_validator(mode="after")
    def _options_fit_the_model(self) -> RunConfig:
        if self.model.kind != "static" and any(a.partial_dropout for a in self.align_losses):
            raise ValueError("partial_dropout works for models of kind 'static' only")
        return self

    @property
    def align_losses(self) -> tuple[AlignLoss, ...]:
        """Everything that any stage asks of parallel rows."""
        losses: list[AlignLoss] = []
        for stage in self.stage:
            if isinstance(stage, AlignStage):
                losses.append(stage)
            elif stage.align is not None:
                losses.append(stage.align)
        return tuple(losses)


def _problem(error: ValidationError) -> str:
    """Return one line per mistake: where it is, what is wrong."""
    lines = []
    for mistake in error.errors():
        where = ".".join(str(part) for part in mistake["loc"]) or "the file"
        what = mistake["msg"].removeprefix("Value error, ")
        if mistake["type"] == "extra_forbidden":
            what = "unknown key"
        lines.append(f"  {where}: {what}")
    return "\n".join(lines)


def parse_config(text: str, *, origin: str = "configuration") -> RunConfig:
    """Return the run that a TOML text describes.

    Args:
        text: TOML.
        origin: What to call the text in errors, for example its path.

    Raises:
        ConfigError: It is not TOML, has an unknown key, or a value out of its range. All
            mistakes are listed, each with its place.
    """
    return _validated(parse_toml(text, origin), origin)


def load_config(path: Path) -> RunConfig:
    """Return the run that a TOML file describes, put over its base where it names one.

    Raises:
        ConfigError: As ``parse_config`` and ``training.config_file.read_over_base``.
    """
    return _validated(read_over_base(path), str(path))


def _validated(document: dict[str, Any], origin: str) -> RunConfig:
    try:
        return RunConfig.model_validate(document)
    except ValidationError as exc:
        raise ConfigError(f"{origin} cannot be used:\n{_problem(exc)}") from exc


def with_base(config: RunConfig, base: str) -> RunConfig:
    """Return the run with another backbone; a revision goes with the backbone it was given for.

    Args:
        config: The run.
        base: Hub id or local directory.

    Raises:
        ConfigError: The run trains no backbone.
    """
    if not isinstance(config.model, TransformerModel):
        raise ConfigError(
            f"--base replaces [model] base, but the model is of kind {config.model.kind!r}, which "
            "has none. Take a configuration with [model] kind = 'transformer'."
        )
    model = config.model.model_copy(update={"base": base, "base_revision": None})
    return config.model_copy(update={"model": model})
