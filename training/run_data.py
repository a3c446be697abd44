"""The data of a run as its stages need them: read once, the teacher's vectors computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.progress import Progress
from sentence_transformers import SentenceTransformer

from training.collating import TeacherTable
from training.config import ParallelSource, RunConfig, StaticModel
from training.data import unit_hash
from training.data_prepared import NO_TEXT, PairTable, ParallelTable, Prepared
from training.encoder import StaticReader, TextReader, TransformerReader
from training.errors import RunError
from training.teacher import reduce_dim, teacher_vectors


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
            # One order for all stages, or one would unlearn what another taught.
            nested = any(stage.matryoshka_dims for stage in self._config.stage)
            reduced = reduce_dim(vectors, dim, leading_first=nested)
            self._teacher = TeacherTable(row_of, reduced)
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
