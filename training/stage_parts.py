"""Everything a stage gives to the trainer: datasets, collator, objectives, samplers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer
from torch import nn
from torch.utils.data import ConcatDataset

from training.batching import (
    AlignBatchSampler,
    DrawnBatchSampler,
    MixedBatchSampler,
    TrainerSampler,
    hybrid_batch_sampler,
)
from training.collating import AlignCollator, Collator, MixedCollator, PairCollator
from training.config import AlignLoss, AlignStage, HybridStage, RunConfig, Stage, StaticModel
from training.data_prepared import NO_TEXT, PairTable
from training.data_rows import pair_dataset, parallel_dataset
from training.distributed import World
from training.drawing import HybridSettings
from training.errors import RunError
from training.objectives import AlignObjective, HybridObjective, Passes
from training.run_data import RunData
from training.text_choice import HardNegatives, PartialQueries, SideChoice
from training.trainer import Samplers

PAIRS = "pairs"
PARALLEL = "parallel"


@dataclass(frozen=True, slots=True)
class StageParts:
    """What the trainer of one stage needs beside its arguments and the encoder.

    Attributes:
        dataset: One dataset, or two by name.
        collator: Makes batches.
        objective: One objective, or one per dataset.
        samplers: What draws the batches.
    """

    dataset: Dataset | DatasetDict
    collator: Collator
    objective: nn.Module | dict[str, nn.Module]
    samplers: Samplers


@dataclass(frozen=True, slots=True)
class _How:
    """What all parts of a stage have in common."""

    seed: int
    world: World
    passes: Passes


def _dim_of(encoder: SentenceTransformer) -> int:
    dim = encoder.get_embedding_dimension()
    assert dim is not None, "both families say their dimension"
    return dim


def _passes(stage: Stage, dim: int) -> Passes:
    """Return how a stage embeds.

    Raises:
        RunError: It asks for more dimensions than the encoder has.
    """
    if too_many := [n for n in stage.matryoshka_dims if n >= dim]:
        raise RunError(
            f"matryoshka_dims names {too_many[0]}, but the encoder has {dim} dimensions, which are "
            "always trained. Name smaller numbers only."
        )
    weights = stage.matryoshka_weights or (1.0,) * len(stage.matryoshka_dims)
    nested = tuple(zip(stage.matryoshka_dims, weights, strict=True))
    return Passes(mini_batch_size=stage.mini_batch_size, nested=nested)


class PartsBuilder:
    """Builds the parts of a stage.

    Args:
        config: The run.
        data: Its data.
        encoder: What is trained.
    """

    def __init__(self, config: RunConfig, data: RunData, encoder: SentenceTransformer) -> None:
        self._config = config
        self._data = data
        self._encoder = encoder

    def build(self, stage: AlignStage | HybridStage, seed: int) -> StageParts:
        """Return the parts of a stage.

        Raises:
            RunError: The prepared data have no row that the stage could be trained on.
        """
        world = World.from_environment(shared=stage.cross_device_negatives)
        how = _How(seed, world, _passes(stage, _dim_of(self._encoder)))
        if isinstance(stage, AlignStage):
            dataset, collator, objective = self._align(stage, how)
            sampler = self._align_sampler(stage, stage.batch_size, stage.steps, world)
            return StageParts(dataset, collator, objective, Samplers(sampler))
        pairs, pair_collator, pair_objective = self._hybrid(stage, how)
        pair_sampler = hybrid_batch_sampler(
            self._settings(stage), n_batches=stage.steps, n_processes=world.size
        )
        if stage.align is None:
            return StageParts(pairs, pair_collator, pair_objective, Samplers(pair_sampler))
        parallel, align_collator, align_objective = self._align(stage.align, how)
        size = stage.align.batch_size or stage.batch_size
        align_sampler = self._align_sampler(stage.align, size, stage.steps, world)
        return StageParts(
            DatasetDict({PAIRS: pairs, PARALLEL: parallel}),
            MixedCollator({PAIRS: pair_collator, PARALLEL: align_collator}),
            {PAIRS: pair_objective, PARALLEL: align_objective},
            Samplers(
                _by_columns(pair_sampler, align_sampler), _mixing(stage.align.share, stage.steps)
            ),
        )

    def _settings(self, stage: HybridStage) -> HybridSettings:
        return HybridSettings(
            alpha=stage.alpha,
            kind=stage.batches,
            language_exponent=stage.language_exponent,
            set_exponent=stage.set_exponent,
            language_weights=dict(enumerate(self._data.language_weights().tolist())),
        )

    def _hybrid(
        self, stage: HybridStage, how: _How
    ) -> tuple[Dataset, PairCollator, HybridObjective]:
        objective = HybridObjective(
            self._encoder,
            loss_temperature=stage.loss_temperature,
            symmetric=stage.symmetric,
            passes=how.passes,
        )
        table = self._data.pairs()
        dataset = pair_dataset(
            table,
            [source.weight for source in self._config.data.pairs],
            max_cross_pairs=stage.max_cross_pairs,
            seed=how.seed,
        )
        negatives = _hard_negatives(table, stage.hard_negatives) if stage.hard_negatives else None
        reader = self._data.reader(self._encoder)
        return dataset, PairCollator(reader, how.seed, how.world, negatives), objective

    def _align(self, loss: AlignLoss, how: _How) -> tuple[Dataset, AlignCollator, AlignObjective]:
        model, parallel = self._config.model, self._data.parallel
        dataset = parallel_dataset(parallel, self._data.pivot)
        teacher = self._data.teacher(_dim_of(self._encoder)) if loss.w_distill else None
        collator = AlignCollator(
            self._data.reader(self._encoder),
            how.seed,
            how.world,
            texts=parallel.texts,
            choice=SideChoice(
                self._data.language_weights(),
                pivot=self._data.pivot,
                pivot_share=loss.pivot_share,
                partial=PartialQueries(loss.same_share, loss.partial_dropout),
            ),
            dropout=model.dropout if isinstance(model, StaticModel) else 0.0,
            teacher=teacher,
        )
        objective = AlignObjective(
            self._encoder,
            w_distill=loss.w_distill,
            distill=loss.distill,
            distill_temperature=loss.distill_temperature,
            w_contrast=loss.w_contrast,
            loss_temperature=loss.loss_temperature,
            passes=how.passes,
        )
        return dataset, collator, objective

    def _align_sampler(
        self, loss: AlignLoss, batch_size: int, n_batches: int, world: World
    ) -> TrainerSampler:
        shares = {n: source.share for n, source in enumerate(self._data.parallel_sources)}

        def build(dataset: Dataset, *, seed: int = 0, **_: object) -> DrawnBatchSampler:
            return AlignBatchSampler(
                dataset,
                batch_size * world.size,
                shares,
                seed=seed,
                n_batches=n_batches,
                n_processes=world.size,
                set_exponent=loss.set_exponent,
            )

        return build


def _hard_negatives(table: PairTable, per_pair: int) -> HardNegatives:
    """Return the hard negatives of the entries.

    Raises:
        RunError: There are none.
    """
    if not (table.negatives != NO_TEXT).any():
        raise RunError(
            "hard_negatives is set, but no row of [[data.pairs]] has 'negatives'. Add them to the "
            "rows and prepare again, or set hard_negatives = 0."
        )
    n_texts = 1 + max(int(texts.max()) for texts in (table.passage, table.negatives))
    group_of = np.full(n_texts, -1, np.int32)
    group_of[table.passage] = table.group
    return HardNegatives(table.negatives, group_of, per_pair)


def _by_columns(pairs: TrainerSampler, parallel: TrainerSampler) -> TrainerSampler:
    """Return a sampler for either dataset: the trainer asks one function for both."""

    def build(dataset: Dataset, **arguments: object) -> DrawnBatchSampler:
        return (pairs if "question" in dataset.column_names else parallel)(dataset, **arguments)

    return build


def _mixing(share: float, n_batches: int) -> Callable[..., MixedBatchSampler]:
    def build(
        dataset: ConcatDataset[object],
        batch_samplers: list[DrawnBatchSampler],
        *,
        seed: int = 0,
        **_: object,
    ) -> MixedBatchSampler:
        pairs, parallel = batch_samplers
        return MixedBatchSampler(
            pairs,
            parallel,
            dataset=dataset,
            second_share=share,
            seed=seed,
            n_batches=n_batches,
        )

    return build
