"""What is compared of training data with an evaluation set: texts, questions and titles of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.config import PairSource, ParallelSource, Source, load_config
from training.data import read_json_lines, read_pairs, read_parallel
from training.errors import DataError
from training.prepare import check_files


@dataclass(frozen=True, slots=True)
class TrainingText:
    """One text of a training row."""

    row_id: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """What is compared of a training row.

    Attributes:
        texts: Everything that is trained on.
        question: The question, with its language; ``None`` for parallel text.
        title: The title, or the empty text.
    """

    texts: tuple[TrainingText, ...]
    question: TrainingText | None = None
    title: str = ""


def training_rows(
    source: Source, data_root: Path, languages: Sequence[str] | None
) -> Iterator[TrainingRow]:
    """Yield what is compared of a source's rows; held-out rows too, as models are chosen on them.

    Args:
        source: A source of pairs, parallel text or words.
        data_root: What its path is relative to.
        languages: Languages to read; ``None`` is all, and not possible for parallel text.

    Raises:
        DataError: A row breaks the schema.
    """
    path = data_root / source.path
    if isinstance(source, PairSource):
        for row in read_pairs(path, source, languages):
            question = TrainingText(row.id, row.language, row.question)
            passages = (
                TrainingText(row.id, row.language, t) for t in (row.passage, *row.negatives)
            )
            yield TrainingRow((*passages, question), question, row.title)
    elif isinstance(source, ParallelSource):
        for parallel in read_parallel(path, source, languages or ()):
            texts = (TrainingText(parallel.id, lang, t) for lang, t in parallel.texts.items())
            yield TrainingRow(tuple(texts))


def training_sources(
    paths: Sequence[Path], data_root: Path
) -> list[tuple[Source, Path, tuple[str, ...] | None]]:
    """Return (source, what its path is relative to, languages) of everything to compare.

    Args:
        paths: Configurations of runs (``.toml``), and data files in the schemas of
            ``training/data.py``.
        data_root: What the paths in configurations are relative to.

    Raises:
        ConfigError: A configuration cannot be read.
        DataError: A file is missing, or is in neither schema.
    """
    sources: list[tuple[Source, Path, tuple[str, ...] | None]] = []
    for path in paths:
        if path.suffix == ".toml":
            config = load_config(path)
            check_files(config, data_root)
            sources += [(source, data_root, config.languages) for source in config.data.sources]
        else:
            sources.append((_bare_source(path), Path(), None))
    return sources


def _bare_source(path: Path) -> Source:
    first = next((row for _, row in read_json_lines(path)), None)
    if first is None:
        raise DataError(path, None, "has no row")
    licence = "not stated here"
    if "question" in first and "passage" in first:
        return PairSource(path=str(path), licence=licence)
    return ParallelSource(path=str(path), licence=licence)
