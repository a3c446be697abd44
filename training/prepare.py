"""Turns the user's files into a prepared directory: validated, cut, split, grouped, tokenised.

What is held out is decided here and nowhere else; the unit is the document.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from pathlib import Path

import numpy as np
from rich.progress import Progress, TaskID

from training import data_prepared as layout
from training.config import RunConfig, Source, StaticModel
from training.data import fingerprint
from training.data_prepared import PairTable, ParallelTable
from training.errors import ConfigError, DataError
from training.prepare_pairs import read_pair_table
from training.prepare_parallel import read_parallel_table
from training.prepare_sources import JsonRow, Reading
from training.readers.pairs import raw_rows
from training.vocabulary import sample_corpus, token_table, tokenize, train_tokenizer


def refuse_forbidden_licences(config: RunConfig) -> None:
    """Check the licence of every source.

    Raises:
        ConfigError: One matches a pattern of ``data.forbid_licences``; all such are listed.
    """
    refused = [
        f"  {source.label}: {source.licence!r} matches {pattern!r}"
        for source in config.data.sources
        for pattern in config.data.forbid_licences
        if fnmatch.fnmatch(source.licence.lower(), pattern.lower())
    ]
    if refused:
        raise ConfigError(
            "Sources with a licence that forbid_licences excludes:\n" + "\n".join(refused)
        )


def check_files(config: RunConfig, data_root: Path) -> None:
    """Check that every source is there; datasets at a hub are looked for when they are read.

    Raises:
        DataError: A file or directory is missing.
    """
    for source in config.data.sources:
        path = data_root / source.path
        if source.form != "huggingface" and not path.exists():
            problem = "no such file or directory; paths are relative to --data-root"
            raise DataError(path, None, problem)


class Preparation:
    """One run of ``prepare``: reads every source once, then writes the directory.

    Args:
        config: The run.
        data_root: What the paths of the sources are relative to.
        progress: Shows how far it is.
    """

    def __init__(self, config: RunConfig, data_root: Path, progress: Progress) -> None:
        self._config = config
        self._reading = Reading(config, data_root, progress)

    def run(self, directory: Path) -> None:
        """Write the prepared directory's files into ``directory``.

        Raises:
            ConfigError: A source's licence is excluded, or nothing is left to train on.
            DataError: A file is missing or breaks its schema.
        """
        refuse_forbidden_licences(self._config)
        check_files(self._config, self._reading.root)
        pairs, held_out_pairs = read_pair_table(self._reading)
        parallel, held_out_parallel = read_parallel_table(self._reading)
        if not len(pairs) and not len(parallel):
            raise ConfigError("No source has a training row in the languages of the run.")
        layout.write_json_lines(directory / layout.HELD_OUT_PAIRS, held_out_pairs)
        layout.write_json_lines(directory / layout.HELD_OUT_PARALLEL, held_out_parallel)
        layout.save_arrays(directory / layout.PAIRS, pairs)
        layout.save_arrays(directory / layout.PARALLEL, parallel)
        layout.write_json_lines(directory / layout.TEXTS, self._reading.texts.texts)
        if isinstance(self._config.model, StaticModel):
            self._build_vocabulary(directory, pairs, parallel, self._config.model.max_length)
        layout.write_json(directory / layout.MANIFEST, self._manifest(pairs, parallel))

    def _build_vocabulary(
        self, directory: Path, pairs: PairTable, parallel: ParallelTable, max_length: int
    ) -> None:
        texts = self._reading.texts.texts
        by_language = {}
        for number, language in enumerate(self._config.languages):
            mine = pairs.language == number
            column = parallel.texts[:, number]
            own = (pairs.question[mine], pairs.passage[mine], pairs.negatives[mine].ravel())
            numbers = np.concatenate([*own, column])
            by_language[language] = [texts[k] for k in np.unique(numbers) if k != layout.NO_TEXT]
        task = self._reading.progress.add_task("Training the vocabulary", total=None)
        corpus = sample_corpus(by_language, self._config.vocabulary, self._config.seed)
        tokenizer = train_tokenizer(corpus, self._config.vocabulary, max_length)
        self._reading.progress.update(task, total=1, completed=1)
        tokenizer.save(str(directory / layout.TOKENIZER))
        task = self._reading.progress.add_task("Tokenising", total=len(texts))
        chunks = (self._counted(chunk, task) for chunk in tokenize(tokenizer, texts))
        layout.save_arrays(directory / layout.TOKENS, token_table(chunks))

    def _counted(self, chunk: list[list[int]], task: TaskID) -> list[list[int]]:
        self._reading.progress.advance(task, len(chunk))
        return chunk

    def _manifest(self, pairs: PairTable, parallel: ParallelTable) -> JsonRow:
        return {
            "schema_version": layout.SCHEMA_VERSION,
            "config": self._config.model_dump(mode="json"),
            "counts": {
                "texts": len(self._reading.texts.texts),
                "pair_entries": len(pairs),
                "parallel_rows": len(parallel),
            },
            "sources": [self._source_facts(source) for source in self._config.data.sources],
        }

    def _source_facts(self, source: Source) -> JsonRow:
        return {
            "name": source.label,
            "path": source.path,
            "form": source.form,
            "sha256": source_fingerprint(source, self._reading.root),
            "licence": source.licence,
            "rows": dict(sorted(self._reading.counts[source.label].items())),
        }


def source_fingerprint(source: Source, data_root: Path) -> str:
    """Return the sha256 of what a source holds, as hex digits.

    Of a dataset at a hub it is that of its rows, so that it does not depend on where they are kept.
    """
    if source.form != "huggingface":
        return fingerprint(data_root / source.path)
    digest = hashlib.sha256()
    for _, row in raw_rows(data_root / source.path, source):
        digest.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()


def prepare(
    config: RunConfig, data_root: Path, target: Path, *, progress: Progress, force: bool = False
) -> None:
    """Read all sources of a run and write the prepared directory, complete or not at all.

    Args:
        config: The run.
        data_root: What the paths of the sources are relative to.
        target: Directory to create.
        progress: Shows how far it is.
        force: Replace ``target`` if it exists.

    Raises:
        ConfigError: A licence is excluded, or nothing is left to train on.
        DataError: A file is missing or breaks its schema; file and line are named.
        PreparedDataError: ``target`` exists and ``force`` is not set.
    """
    work = Preparation(config, data_root, progress)
    layout.write_directory(target, work.run, force=force)
