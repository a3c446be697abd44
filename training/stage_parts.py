"""Everything a stage gives to the trainer: datasets, collator, objectives, samplers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict
from rich.progress import Progress
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
from training.collating import AlignCollator, Collator, MixedCollator, PairCollator, TeacherTable
from training.config import (
    AlignLoss,
    AlignStage,
    HybridStage,
    ParallelSource,
    RunConfig,
    StaticModel,
)
from training.data import unit_hash
from training.data_prepared import NO_TEXT, PairTable, ParallelTable, Prepared
from training.data_rows import pair_dataset, parallel_dataset
from training.drawing import HybridSettings
from training.encoder import StaticReader, TextReader, TransformerReader
from training.errors import RunError
from training.losses import AlignObjective, HybridObjective
from training.teacher import reduce_dim, teacher_vectors
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


class RunData:
    """The data of a run, read once and shared by its stages.

    Args:
        config: The run.
        prepared: Its prepared directory.
        cache: Directory of the teacher's vectors.
        progress: Shows how far the teacher is.
    """

    def __init__(
        self, config: RunConfig, prepared: Prepared, cache: Path, progress: Progress
    ) -> None:
        self._config = config
        self._prepared = prepared
        self._cache = cache
        self._progress = progress
        self._texts: list[str] | None = None
        self._teacher: TeacherTable | None = None
        self._parallel: ParallelTable | None = None
        self.teacher_name: str | None = None

    @property
    def texts(self) -> list[str]:
        """All training texts."""
        if self._texts is None:
            self._texts = self._prepared.texts()
        return self._texts

    def pairs(self) -> PairTable:
        """Return the question-passage entries."""
        return self._prepared.pairs()

    @property
    def parallel(self) -> ParallelTable:
        """All parallel rows."""
        if self._parallel is None:
            self._parallel = self._prepared.parallel()
        return self._parallel

    @property
    def pivot(self) -> int | None:
        """Column of the language that align rows are drawn by: the teacher's, else English."""
        language = self._config.teacher.language if self._config.teacher else "en"
        languages = self._config.languages
        return languages.index(language) if language in languages else None

    @property
    def parallel_sources(self) -> tuple[ParallelSource, ...]:
        """Sources of parallel rows, in the order of their numbers."""
        return (*self._config.data.parallel, *self._config.data.lexicon)

    def reader(self, encoder: SentenceTransformer) -> TextReader:
        """Return what makes features of texts for an encoder."""
        model = self._config.model
        if isinstance(model, StaticModel):
            return StaticReader(self._prepared.tokens(), model.dropout)
        prefixes = {"query": model.query_prefix, "passage": model.passage_prefix}
        return TransformerReader(encoder, self.texts, prefixes)  # type: ignore[arg-type]  # the keys are the two sides

    def teacher(self, dim: int) -> TeacherTable:
        """Return the teacher's vectors in ``dim`` dimensions, computing those that are missing.

        Raises:
            RunError: The teacher cannot be loaded, or is too small.
        """
        if self._teacher is None:
            config = self._config.teacher
            assert config is not None, "the configuration asks for a teacher where it is needed"
            numbers = self._taught_texts()
            texts = [self.texts[number] for number in numbers.tolist()]
            vectors, self.teacher_name = teacher_vectors(texts, config, self._cache, self._progress)
            row_of = np.full(len(self.texts), -1, np.int32)
            row_of[numbers] = np.arange(len(numbers), dtype=np.int32)
            self._teacher = TeacherTable(row_of, reduce_dim(vectors, dim))
        return self._teacher

    def _taught_texts(self) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
        """Return the numbers of the texts that the teacher embeds, sorted."""
        if self.pivot is None:
            raise RunError("The teacher's language is not among the languages of the run.")
        kept = []
        for number, source in enumerate(self.parallel_sources):
            if source.share == 0:
                continue
            column = self.parallel.texts[self.parallel.source == number, self.pivot]
            mine = np.unique(column[column != NO_TEXT])
            if source.teacher_cap is not None and len(mine) > source.teacher_cap:
                by_hash = sorted(mine.tolist(), key=lambda text: unit_hash(self.texts[text]))
                mine = np.array(sorted(by_hash[: source.teacher_cap]), np.int32)
            kept.append(mine)
        taught = np.unique(np.concatenate(kept)) if kept else np.empty(0, np.int32)
        if not len(taught):
            raise RunError("No parallel row has a text in the teacher's language.")
        return taught.astype(np.int32)

    def language_weights(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Return the weight of every language, (n_languages,)."""
        weights = self._config.language_weights
        return np.array([weights.get(language, 1.0) for language in self._config.languages])


def _world_size() -> int:
    """Return the number of processes that train together, as torchrun says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _dim_of(encoder: SentenceTransformer) -> int:
    dim = encoder.get_embedding_dimension()
    assert dim is not None, "both families say their dimension"
    return dim


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
        n_batches = stage.steps * _world_size()
        if isinstance(stage, AlignStage):
            dataset, collator, objective = self._align(stage, seed)
            sampler = self._align_sampler(n_batches, stage.batch_size)
            return StageParts(dataset, collator, objective, Samplers(sampler))
        pairs, pair_collator, pair_objective = self._hybrid(stage, seed)
        pair_sampler = hybrid_batch_sampler(self._settings(stage), n_batches=n_batches)
        if stage.align is None:
            return StageParts(pairs, pair_collator, pair_objective, Samplers(pair_sampler))
        parallel, align_collator, align_objective = self._align(stage.align, seed)
        align_sampler = self._align_sampler(n_batches, stage.align.batch_size or stage.batch_size)
        return StageParts(
            DatasetDict({PAIRS: pairs, PARALLEL: parallel}),
            MixedCollator({PAIRS: pair_collator, PARALLEL: align_collator}),
            {PAIRS: pair_objective, PARALLEL: align_objective},
            Samplers(
                _by_columns(pair_sampler, align_sampler), _mixing(stage.align.share, n_batches)
            ),
        )

    def _settings(self, stage: HybridStage) -> HybridSettings:
        return HybridSettings(
            alpha=stage.alpha,
            kind=stage.batches,
            language_exponent=stage.language_exponent,
            language_weights=dict(enumerate(self._data.language_weights().tolist())),
        )

    def _hybrid(
        self, stage: HybridStage, seed: int
    ) -> tuple[Dataset, PairCollator, HybridObjective]:
        objective = HybridObjective(
            self._encoder, loss_temperature=stage.loss_temperature, symmetric=stage.symmetric
        )
        dataset = pair_dataset(
            self._data.pairs(),
            [source.weight for source in self._config.data.pairs],
            max_cross_pairs=stage.max_cross_pairs,
            seed=seed,
        )
        return dataset, PairCollator(self._data.reader(self._encoder), seed), objective

    def _align(self, loss: AlignLoss, seed: int) -> tuple[Dataset, AlignCollator, AlignObjective]:
        parallel = self._data.parallel
        dataset = parallel_dataset(parallel, self._data.pivot)
        teacher = self._data.teacher(_dim_of(self._encoder)) if loss.w_distill else None
        collator = AlignCollator(
            self._data.reader(self._encoder),
            parallel.texts,
            self._data.language_weights(),
            seed,
            pivot=self._data.pivot,
            pivot_share=loss.pivot_share,
            teacher=teacher,
        )
        objective = AlignObjective(
            self._encoder,
            w_distill=loss.w_distill,
            distill=loss.distill,
            distill_temperature=loss.distill_temperature,
            w_contrast=loss.w_contrast,
            loss_temperature=loss.loss_temperature,
        )
        return dataset, collator, objective

    def _align_sampler(self, n_batches: int, batch_size: int) -> TrainerSampler:
        shares = {n: source.share for n, source in enumerate(self._data.parallel_sources)}

        def build(dataset: Dataset, *, seed: int = 0, **_: object) -> DrawnBatchSampler:
            return AlignBatchSampler(dataset, batch_size, shares, seed=seed, n_batches=n_batches)

        return build


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
