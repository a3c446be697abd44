"""The stages of a run's TOML file: what a batch holds, what is asked of it, and the optimiser."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from training.config_data import Count, NonNegative, Positive, Share, Table


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
