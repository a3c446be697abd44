"""The stages of a run's TOML file: what a batch holds, what is asked of it, and the optimiser."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from training.config_data import Count, NonNegative, Positive, Share, Table
from training.config_development import EarlyStopping


class AlignLoss(Table):
    """What is asked of parallel rows.

    Attributes:
        w_distill: Weight of the distance to the teacher's vector of the English side.
        distill: ``contrastive``: symmetric InfoNCE against the teacher's vectors of the batch;
            ``cosine``: 1 - cosine.
        distill_temperature: Divides the cosines of the contrastive distance.
        w_contrast: Weight of the symmetric InfoNCE between two languages of a row.
        loss_temperature: Divides the cosines of that InfoNCE.
        set_exponent: A source is drawn with probability proportional to its ``share`` times
            n ** exponent, n its number of rows with different texts in the teacher's language; 0
            draws by the shares alone.
        pivot_share: Probability that one of the two languages is the teacher's, where a row has
            it; ``None`` draws both languages evenly.
        same_share: Probability that both sides of a row are one and the same text, so that words
            are matched in every language and not across languages alone.
        partial_dropout: Probability that a subword of the first side of such a row is left out,
            so that it reads like a query; the second side stays whole. Static encoders only.
    """

    w_distill: NonNegative = 1.0
    distill: Literal["contrastive", "cosine"] = "contrastive"
    distill_temperature: Positive = 0.05
    w_contrast: NonNegative = 1.0
    loss_temperature: Positive = 0.05
    set_exponent: Share = 0.0
    pivot_share: Share | None = None
    same_share: Share = 0.0
    partial_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    @model_validator(mode="after")
    def _asks_for_something(self) -> AlignLoss:
        if self.w_distill == 0.0 and self.w_contrast == 0.0:
            raise ValueError("w_distill and w_contrast are both 0, so nothing would be learned")
        if self.partial_dropout > 0.0 and self.same_share == 0.0:
            raise ValueError("partial_dropout needs same_share > 0: it is for those rows alone")
        return self


class Stage(Table):
    """What the stages of a run have in common: steps, batch and optimiser.

    Attributes:
        steps: Number of optimiser steps.
        batch_size: Rows per device and step; the rows of all devices are drawn as one batch.
        cross_device_negatives: Under torchrun, take the rows of all devices as negatives, so that
            n devices with a batch of b train as one device with a batch of n * b would.
        mini_batch_size: Texts that are embedded at a time, by gradient caching: the loss and its
            gradient are those of the whole batch, memory is needed for so many texts only, and
            every text is embedded twice. ``None`` embeds the batch at once.
        matryoshka_dims: Numbers of leading dimensions that are to be embeddings of their own, once
            normalised (Kusupati et al. 2022, arXiv:2205.13147), beside all dimensions together.
        matryoshka_weights: Weight of the loss of each of them; that of all dimensions has 1. All
            are 1 where it is empty.
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
        keep_checkpoints: Number of checkpoints to keep on the disk; the second is there for when
            the first is damaged.
        early_stopping: Keep the best weights by a development set, and stop when they stay best.
    """

    steps: Count
    batch_size: Annotated[int, Field(ge=2)] = 1024
    cross_device_negatives: bool = False
    mini_batch_size: Count | None = None
    matryoshka_dims: tuple[Count, ...] = ()
    matryoshka_weights: tuple[Positive, ...] = ()
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
    keep_checkpoints: Count = 2
    early_stopping: EarlyStopping | None = None

    @model_validator(mode="after")
    def _sparse_adam_decays_nothing(self) -> Stage:
        if self.optimizer == "sparse_adam" and (self.weight_decay > 0 or self.max_grad_norm > 0):
            raise ValueError("sparse_adam takes neither weight_decay nor max_grad_norm; set both 0")
        return self

    @model_validator(mode="after")
    def _every_matryoshka_dimension_has_a_weight(self) -> Stage:
        if len(set(self.matryoshka_dims)) != len(self.matryoshka_dims):
            raise ValueError("matryoshka_dims names a number twice")
        if self.matryoshka_weights and len(self.matryoshka_weights) != len(self.matryoshka_dims):
            raise ValueError("give one of matryoshka_weights for each of matryoshka_dims, or none")
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
            member is, with the same probability, and the monolingual members draw their language
            one by one. With alpha = 1 that is the X-X of LAReQA (Roy et al. 2020,
            arXiv:2004.05484): monolingual pairs, the languages mixed in the batch.
        language_exponent: A monolingual batch (or member) is in language l with probability
            proportional to w_l * n_l ** exponent, w_l the language's weight and n_l its number of
            passages that are no translations of one another; 0 draws languages evenly, 1 by size.
        set_exponent: Among the pairs of a language, and among the cross-lingual ones, a source is
            drawn with probability proportional to its ``weight`` times n ** exponent, n its
            number of such passages there; 1 draws by size, 0 by weight alone.
        max_cross_pairs: Number of language pairs kept of one shared id, drawn by the seed; all
            of them where it is ``None``.
        loss_temperature: Divides the cosines of InfoNCE.
        symmetric: Also ask for the right query of a passage.
        hard_negatives: Number of hard negatives to draw for a pair, of those its passage has; they
            are negatives of every question of the batch whose passage they are not.
        align: Align batches to mix in.
    """

    name: Literal["hybrid"]
    alpha: Share = 0.5
    batches: Literal["homogeneous", "mixed"] = "homogeneous"
    language_exponent: Share = 0.5
    set_exponent: Share = 1.0
    max_cross_pairs: Count | None = None
    loss_temperature: Positive = 0.05
    symmetric: bool = True
    hard_negatives: Annotated[int, Field(ge=0)] = 0
    align: AlignMix | None = None
