"""The TOML file of a run: one frozen model per table, unknown keys are errors.

It knows no framework and no machine: paths in it are relative to the data root that the command
line gives. Everything that decides what is trained stands here, so that a run can be repeated.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.errors import ConfigError

Share: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
Positive: TypeAlias = Annotated[float, Field(gt=0.0)]
NonNegative: TypeAlias = Annotated[float, Field(ge=0.0)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Role: TypeAlias = Literal["train", "held_out"]


class Table(BaseModel):
    """A TOML table: frozen, and without keys that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Table):
    """What all data files have in common.

    Attributes:
        path: File, relative to the data root; JSON lines, gzip where it ends in ``.gz``.
        licence: Licence of the texts, as it is to stand in the provenance of the model.
        name: Name in reports; the path without its endings where it is empty.
        cap: Number of rows to keep, drawn by the seed: per language for pairs, in all otherwise.
        languages: Languages to keep; all languages of the run where it is ``None``.
        role: ``held_out`` keeps the whole file out of training.
        document_pattern: Regular expression on the row id; its first group is the document.
        held_out_share: Share of documents kept out of training, instead of ``data``'s.
        drop_pattern: Regular expression; what it matches is cut out of every text.
    """

    path: str
    licence: str = Field(min_length=1)
    name: str = ""
    cap: Count | None = None
    languages: tuple[str, ...] | None = None
    role: Role = "train"
    document_pattern: str | None = None
    held_out_share: Share | None = None
    drop_pattern: str | None = None

    @property
    def label(self) -> str:
        """Name for reports."""
        return self.name or self.path.removesuffix(".gz").removesuffix(".jsonl")


class PairSource(Source):
    """Question-passage rows ``{id, lang, question, passage, title?, answer?, answer_start?}``.

    Attributes:
        weight: How often a row of it is drawn, relative to rows of weight 1.
        language: Language of all rows, where the file's own code is another one.
        shared_ids: Rows of one id are translations of one another, so that the question in one
            language can be paired with the passage in another.
        sentence_view: Beside the cut passage, also pair the question with the one sentence that
            holds the answer.
    """

    weight: Positive = 1.0
    language: str | None = None
    shared_ids: bool = False
    sentence_view: bool = False


class ParallelSource(Source):
    """Parallel rows ``{id, doc?, "<language>": text}``, Indonesian under ``ind``.

    Attributes:
        share: Share of align rows that are drawn from it, relative to the shares of the other
            sources and whatever its size; 0 uses its texts for the vocabulary alone.
        fields: Members that each hold one ``{language: text}`` object, where the texts do not
            stand in the row itself.
        teacher_cap: Number of English texts of this source that the teacher embeds; all of them
            where it is ``None``, and 0 for none.
    """

    share: NonNegative = 1.0
    fields: tuple[str, ...] = ()
    teacher_cap: Annotated[int, Field(ge=0)] | None = None


class LexiconSource(ParallelSource):
    """A dictionary, read as parallel rows of words.

    Attributes:
        form: ``wiktionary``: ``{id, en, tr: {language: [word]}}``; ``omw``: ``{id, lemmas:
            {language: [word]}}``.
        alternatives: Number of translations to keep of one entry; each makes one row.
    """

    form: Literal["wiktionary", "omw"]
    alternatives: Count = 3


class DataConfig(Table):
    """Which files are read and how texts are cut.

    Attributes:
        forbid_licences: Shell patterns, compared without regard to case; a source whose licence
            matches one is refused.
        held_out_share: Share of documents kept out of training, decided by a hash of the
            document and never by row.
        max_text_chars: Longest parallel text; longer ones are cut at a word.
        passage_chars: Longest passage; longer ones are cut around the answer, at sentence borders.
        passage_chars_by_language: The same for languages whose characters say more.
    """

    forbid_licences: tuple[str, ...] = ()
    held_out_share: Share = 0.1
    max_text_chars: Count = 600
    passage_chars: Count = 400
    passage_chars_by_language: dict[str, Count] = Field(default_factory=dict)
    pairs: tuple[PairSource, ...] = ()
    parallel: tuple[ParallelSource, ...] = ()
    lexicon: tuple[LexiconSource, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """All sources, in the order they are read."""
        return (*self.parallel, *self.lexicon, *self.pairs)


class VocabularyConfig(Table):
    """How the subword vocabulary of a static encoder is built.

    Attributes:
        kind: Subword model.
        size: Number of rows of the token table, the unknown token included.
        budget_chars: Number of characters of text it is trained on.
        language_exponent: Language l gets a part proportional to size_l ** exponent; 1 is
            proportional, 0 the same for all.
        dense_languages: Languages whose characters count ``dense_factor`` times.
        dense_factor: See there.
        minor_languages: Languages that get ``minor_share`` of the part they would get.
        minor_share: See there.
        max_piece_chars: Longest subword.
        alphabet: Number of characters kept as subwords of their own (bpe, wordpiece).
        fold: Read letters without regard to case, Greek accents, Arabic vowel signs and the like.
        punctuation: Keep punctuation; it is read as white space otherwise.
        word_starts: Mark the first subword of a word.
    """

    kind: Literal["unigram", "bpe", "wordpiece"] = "unigram"
    size: Annotated[int, Field(ge=16)] = 64_000
    budget_chars: Count = 30_000_000
    language_exponent: Share = 0.5
    dense_languages: tuple[str, ...] = ("zh", "ja")
    dense_factor: Positive = 3.0
    minor_languages: tuple[str, ...] = ()
    minor_share: Share = 0.5
    max_piece_chars: Count = 16
    alphabet: Count = 6_000
    fold: bool = True
    punctuation: bool = False
    word_starts: bool = False


class StaticModel(Table):
    """A table of one vector per subword; a text is the normalised mean of its subwords.

    Attributes:
        dim: Number of dimensions.
        max_length: Number of subwords that are read of a text.
        init_std: Standard deviation of the normal draw that fills the table.
        dropout: Probability that a subword of a training text is left out.
    """

    kind: Literal["static"]
    dim: Count = 384
    max_length: Count = 512
    init_std: Positive = 0.1
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


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
    """

    kind: Literal["transformer"]
    base: str
    base_revision: str | None = None
    pooling: Literal["mean", "cls"] = "mean"
    max_length: Count = 256
    query_prefix: str = ""
    passage_prefix: str = ""
    gradient_checkpointing: bool = False


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


class AlignLoss(Table):
    """What is asked of parallel rows.

    Attributes:
        w_distill: Weight of the distance to the teacher's vector of the English side.
        distill: ``contrastive``: symmetric InfoNCE against the teacher's vectors of the batch;
            ``cosine``: 1 - cosine.
        distill_temperature: Divides the cosines of the contrastive distance.
        w_contrast: Weight of the symmetric InfoNCE between two languages of a row.
        loss_temperature: Divides the cosines of that InfoNCE.
        pivot_share: Probability that one of the two languages is the teacher's, where a row has
            it; ``None`` draws both languages evenly.
    """

    w_distill: NonNegative = 1.0
    distill: Literal["contrastive", "cosine"] = "contrastive"
    distill_temperature: Positive = 0.05
    w_contrast: NonNegative = 1.0
    loss_temperature: Positive = 0.05
    pivot_share: Share | None = None

    @model_validator(mode="after")
    def _asks_for_something(self) -> AlignLoss:
        if self.w_distill == 0.0 and self.w_contrast == 0.0:
            raise ValueError("w_distill and w_contrast are both 0, so nothing would be learned")
        return self


class Stage(Table):
    """What the stages of a run have in common: steps, batch and optimiser.

    Attributes:
        steps: Number of optimiser steps.
        batch_size: Rows per device and step.
        learning_rate: Highest learning rate.
        optimizer: ``sparse_adam`` updates only the rows of a static table that a batch touched.
        weight_decay: Decoupled weight decay (adamw only).
        adam_betas: Decay rates of the running means of gradient and squared gradient.
        schedule: How the learning rate falls after the warm-up.
        final_share: Share of ``learning_rate`` that is left at the end.
        warmup_share: Share of the steps in which the learning rate rises.
        max_grad_norm: Longest gradient; 0 does not clip.
        precision: Arithmetic of forward and backward passes.
        checkpoints: Number of checkpoints to write, evenly spread.
        keep_checkpoints: Number of checkpoints to keep on the disk.
    """

    steps: Count
    batch_size: Annotated[int, Field(ge=2)] = 1024
    learning_rate: Positive = 1e-2
    optimizer: Literal["adamw", "sparse_adam"] = "adamw"
    weight_decay: NonNegative = 0.0
    adam_betas: tuple[Share, Share] = (0.9, 0.999)
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    final_share: Share = 0.0
    warmup_share: Share = 0.05
    max_grad_norm: NonNegative = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoints: Count = 4
    keep_checkpoints: Count = 1

    @model_validator(mode="after")
    def _sparse_adam_decays_nothing(self) -> Stage:
        if self.optimizer == "sparse_adam" and (self.weight_decay > 0 or self.max_grad_norm > 0):
            raise ValueError("sparse_adam takes neither weight_decay nor max_grad_norm; set both 0")
        return self


class AlignStage(Stage, AlignLoss):
    """Parallel rows: imitate the teacher, and bring the languages of a row together."""

    name: Literal["align"]


class AlignMix(AlignLoss):
    """Align batches among the hybrid ones, so that alignment is not forgotten.

    Attributes:
        share: Probability that a batch is an align batch.
        batch_size: Rows per device of an align batch; the stage's where it is ``None``.
    """

    share: Annotated[float, Field(gt=0.0, lt=1.0)]
    batch_size: Annotated[int, Field(ge=2)] | None = None


class HybridStage(Stage):
    """Question-passage pairs in hybrid batches.

    Attributes:
        alpha: Probability that a batch is monolingual: 1 is X-X-mono, 0 is X-Y.
        batches: ``homogeneous``: a whole batch is monolingual or cross-lingual; ``mixed``: every
            member is, with the same probability.
        language_exponent: A monolingual batch is in language l with probability proportional to
            n_pairs_l ** exponent; 0 draws languages evenly.
        max_cross_pairs: Number of language pairs kept of one shared id, drawn by the seed; all
            of them where it is ``None``.
        loss_temperature: Divides the cosines of InfoNCE.
        symmetric: Also ask for the right query of a passage.
        align: Align batches to mix in.
    """

    name: Literal["hybrid"]
    alpha: Share = 0.5
    batches: Literal["homogeneous", "mixed"] = "homogeneous"
    language_exponent: Share = 0.5
    max_cross_pairs: Count | None = None
    loss_temperature: Positive = 0.05
    symmetric: bool = True
    align: AlignMix | None = None


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
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{origin} is not valid TOML: {exc}") from exc
    try:
        return RunConfig.model_validate(document)
    except ValidationError as exc:
        raise ConfigError(f"{origin} cannot be used:\n{_problem(exc)}") from exc


def load_config(path: Path) -> RunConfig:
    """Return the run that a TOML file describes; errors as ``parse_config``."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"Cannot read the configuration {path}: {exc.strerror}") from exc
    return parse_config(text, origin=str(path))
