"""Turns the user's files into a prepared directory: validated, cut, split, grouped, tokenised.

What is held out is decided here and nowhere else. The unit is the document; and because a passage
may stand in two documents, a whole passage group goes with the first of its members that is held
out.
"""

from __future__ import annotations

import fnmatch
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from rich.progress import Progress

from training import data_prepared as layout
from training.config import (
    LexiconSource,
    PairSource,
    ParallelSource,
    RunConfig,
    Source,
    StaticModel,
)
from training.data import (
    PairRow,
    ParallelRow,
    collapse,
    fingerprint,
    is_held_out,
    read_pairs,
    read_parallel,
)
from training.data_groups import TextIndex, group_numbers, sampled
from training.data_passage import answer_sentence, cut_passage, cut_text
from training.data_prepared import PairTable, ParallelTable
from training.errors import ConfigError, DataError
from training.vocabulary import sample_corpus, token_table, tokenize, train_tokenizer

AnySource = TypeVar("AnySource", bound=Source)
JsonRow: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class Entry:
    """A question-passage row of a source, with its group and the passages it is trained on."""

    row: PairRow
    source: int
    shared: str
    group: int
    passages: tuple[str, ...]


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


def _held_out_share(source: Source, config: RunConfig) -> float:
    if source.role == "held_out":
        return 1.0
    return config.data.held_out_share if source.held_out_share is None else source.held_out_share


def _passage_limit(language: str, config: RunConfig) -> int:
    return config.data.passage_chars_by_language.get(language, config.data.passage_chars)


def _views(row: PairRow, source: PairSource, config: RunConfig) -> tuple[str, ...]:
    """Return the texts a question is paired with: the cut passage, and perhaps the sentence."""
    limit = _passage_limit(row.language, config)
    views = [cut_passage(row.passage, row.answer_start, limit, row.language)]
    if source.sentence_view and row.answer_start is not None:
        views.append(answer_sentence(row.passage, row.answer_start, limit, row.language))
    return tuple(dict.fromkeys(collapse(view) for view in views))


class Preparation:
    """One run of ``prepare``: reads every source once, then writes the directory.

    Args:
        config: The run.
        data_root: What the paths of the sources are relative to.
        progress: Shows how far it is.
    """

    def __init__(self, config: RunConfig, data_root: Path, progress: Progress) -> None:
        self._config = config
        self._root = data_root
        self._progress = progress
        self._texts = TextIndex()
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._language_of = {language: k for k, language in enumerate(config.languages)}

    def run(self, directory: Path) -> None:
        """Write the prepared directory's files into ``directory``.

        Raises:
            ConfigError: A source's licence is excluded, or nothing is left to train on.
            DataError: A file is missing or breaks its schema.
        """
        refuse_forbidden_licences(self._config)
        self._check_files()
        pairs, held_out_pairs = self._read_pairs()
        parallel, held_out_parallel = self._read_parallel()
        if not len(pairs) and not len(parallel):
            raise ConfigError("No source has a training row in the languages of the run.")
        layout.write_json_lines(directory / layout.HELD_OUT_PAIRS, held_out_pairs)
        layout.write_json_lines(directory / layout.HELD_OUT_PARALLEL, held_out_parallel)
        layout.save_arrays(directory / layout.PAIRS, pairs)
        layout.save_arrays(directory / layout.PARALLEL, parallel)
        layout.write_json_lines(directory / layout.TEXTS, self._texts.texts)
        if isinstance(self._config.model, StaticModel):
            self._build_vocabulary(directory, pairs, parallel, self._config.model.max_length)
        layout.write_json(directory / layout.MANIFEST, self._manifest(pairs, parallel))

    def _check_files(self) -> None:
        for source in self._config.data.sources:
            if not (self._root / source.path).is_file():
                problem = "no such file; paths are relative to --data-root"
                raise DataError(self._root / source.path, None, problem)

    # Question-passage rows ---------------------------------------------------------------

    def _read_pairs(self) -> tuple[PairTable, list[JsonRow]]:
        sources = self._config.data.pairs
        rows: list[tuple[int, PairRow]] = []
        for number, source in enumerate(self._tracked(sources, "Reading question-passage rows")):
            rows += [(number, row) for row in self._rows_of(source)]
        groups = group_numbers(self._group_keys(number, row) for number, row in rows)
        held_out = {
            group
            for (number, row), group in zip(rows, groups, strict=True)
            if is_held_out(row.document, _held_out_share(sources[number], self._config))
        }
        kept: list[Entry] = []
        kept_out: list[JsonRow] = []
        for (number, row), group in zip(rows, groups, strict=True):
            side = "held_out" if group in held_out else "train"
            self._counts[sources[number].label][side] += 1
            self._counts[sources[number].label][f"{side}.{row.language}"] += 1
            views = _views(row, sources[number], self._config)
            if side == "held_out":
                kept_out.append(self._held_out_row(row, sources[number], group, views[0]))
            else:
                kept.append(Entry(row, number, self._shared_key(number, row), group, views))
        return self._pair_table(kept), kept_out

    def _rows_of(self, source: PairSource) -> list[PairRow]:
        """Return the rows of one source, capped; the held-out side is never capped."""
        share = _held_out_share(source, self._config)
        rows = list(read_pairs(self._root / source.path, source, self._config.languages))
        out = [row for row in rows if is_held_out(row.document, share)]
        rest = (row for row in rows if not is_held_out(row.document, share))
        return out + sampled(rest, source.cap, self._config.seed, lambda row: row.language)

    def _shared_key(self, number: int, row: PairRow) -> str:
        source = self._config.data.pairs[number]
        return f"{number}:{row.id}" if source.shared_ids else f"{number}:{row.language}:{row.id}"

    def _group_keys(self, number: int, row: PairRow) -> tuple[str, ...]:
        return f"id:{self._shared_key(number, row)}", f"passage:{collapse(row.passage)}"

    def _held_out_row(self, row: PairRow, source: PairSource, group: int, passage: str) -> JsonRow:
        return {
            "id": row.id,
            "lang": row.language,
            "question": row.question,
            "passage": passage,
            "source": source.label,
            "shared_ids": source.shared_ids,
            "group_id": group,
        }

    def _pair_table(self, entries: Sequence[Entry]) -> PairTable:
        columns: dict[str, list[int]] = {name: [] for name in PairTable.__slots__}
        shared_numbers: dict[str, int] = {}
        for entry in entries:
            for passage in entry.passages:
                columns["question"].append(self._texts(entry.row.question))
                columns["passage"].append(self._texts(passage))
                columns["language"].append(self._language_of[entry.row.language])
                columns["shared"].append(
                    shared_numbers.setdefault(entry.shared, len(shared_numbers))
                )
                columns["group"].append(entry.group)
                columns["source"].append(entry.source)
        return PairTable(**{name: np.array(ids, np.int32) for name, ids in columns.items()})

    # Parallel rows -----------------------------------------------------------------------

    def _read_parallel(self) -> tuple[ParallelTable, list[JsonRow]]:
        sources = (*self._config.data.parallel, *self._config.data.lexicon)
        matrix: list[list[int]] = []
        source_of: list[int] = []
        kept_out: list[JsonRow] = []
        for number, source in enumerate(self._tracked(sources, "Reading parallel rows")):
            train, out = self._split_parallel(source)
            kept_out += [{"id": r.id, "source": source.label, "texts": r.texts} for r in out]
            matrix += [self._numbers_of(row) for row in train]
            source_of += [number] * len(train)
        width = len(self._config.languages)
        texts = np.array(matrix, np.int32).reshape(len(matrix), width)
        return ParallelTable(texts, np.array(source_of, np.int32)), kept_out

    def _split_parallel(
        self, source: ParallelSource | LexiconSource
    ) -> tuple[list[ParallelRow], list[ParallelRow]]:
        share = _held_out_share(source, self._config)
        rows = list(read_parallel(self._root / source.path, source, self._config.languages))
        out = [row for row in rows if is_held_out(row.document, share)]
        rest = (row for row in rows if not is_held_out(row.document, share))
        train = sampled(rest, source.cap, self._config.seed, lambda _: "")
        counts = self._counts[source.label]
        counts["train"], counts["held_out"] = len(train), len(out)
        for side, members in (("train", train), ("held_out", out)):
            counts.update(f"{side}.{language}" for row in members for language in row.texts)
        return train, out

    def _numbers_of(self, row: ParallelRow) -> list[int]:
        limit = self._config.data.max_text_chars
        return [
            self._texts(cut_text(row.texts[language], limit))
            if language in row.texts
            else layout.NO_TEXT
            for language in self._config.languages
        ]

    # Vocabulary and manifest -------------------------------------------------------------

    def _build_vocabulary(
        self, directory: Path, pairs: PairTable, parallel: ParallelTable, max_length: int
    ) -> None:
        texts = self._texts.texts
        by_language = {}
        for language, number in self._language_of.items():
            mine = pairs.language == number
            column = parallel.texts[:, number]
            numbers = np.concatenate([pairs.question[mine], pairs.passage[mine], column])
            by_language[language] = [texts[k] for k in np.unique(numbers) if k != layout.NO_TEXT]
        task = self._progress.add_task("Training the vocabulary", total=None)
        corpus = sample_corpus(by_language, self._config.vocabulary, self._config.seed)
        tokenizer = train_tokenizer(corpus, self._config.vocabulary, max_length)
        self._progress.update(task, total=1, completed=1)
        tokenizer.save(str(directory / layout.TOKENIZER))
        task = self._progress.add_task("Tokenising", total=len(texts))
        chunks = (self._counted(chunk, task) for chunk in tokenize(tokenizer, texts))
        layout.save_arrays(directory / layout.TOKENS, token_table(chunks))

    def _counted(self, chunk: list[list[int]], task: object) -> list[list[int]]:
        self._progress.advance(task, len(chunk))  # type: ignore[arg-type]  # TaskID is an int
        return chunk

    def _tracked(self, sources: Sequence[AnySource], title: str) -> Iterator[AnySource]:
        yield from self._progress.track(sources, description=title)

    def _manifest(self, pairs: PairTable, parallel: ParallelTable) -> JsonRow:
        return {
            "schema_version": layout.SCHEMA_VERSION,
            "config": self._config.model_dump(mode="json"),
            "counts": {
                "texts": len(self._texts.texts),
                "pair_entries": len(pairs),
                "parallel_rows": len(parallel),
            },
            "sources": [self._source_facts(source) for source in self._config.data.sources],
        }

    def _source_facts(self, source: Source) -> JsonRow:
        return {
            "name": source.label,
            "path": source.path,
            "sha256": fingerprint(self._root / source.path),
            "licence": source.licence,
            "rows": dict(sorted(self._counts[source.label].items())),
        }


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
