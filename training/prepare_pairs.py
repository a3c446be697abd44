"""Reads all sources of pairs: grouped, split, cut, without duplicates.

What is held out is decided by document; and because a passage may stand in two documents, a whole
passage group goes with the first of its members that is held out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from training.config import PairSource, RunConfig
from training.data import PairRow, collapse, is_held_out, read_pairs
from training.data_groups import group_numbers, sampled
from training.data_passage import answer_sentence, cut_passage
from training.data_prepared import NO_TEXT, IntArray, PairTable
from training.prepare_sources import DUPLICATES, JsonRow, Reading, digest, normal


@dataclass(frozen=True, slots=True)
class Entry:
    """A question-passage row of a source, with its group and the texts it is trained on."""

    row: PairRow
    source: int
    shared: str
    group: int
    passages: tuple[str, ...]
    negatives: tuple[str, ...]


def read_pair_table(reading: Reading) -> tuple[PairTable, list[JsonRow]]:
    """Return the training entries of all sources, and the rows that are held out.

    Raises:
        DataError: A file breaks its schema.
    """
    sources = reading.config.data.pairs
    rows = [
        (number, row)
        for number, source in enumerate(reading.tracked(sources, "Reading question-passage rows"))
        for row in _rows_of(reading, source)
    ]
    groups = group_numbers(_group_keys(sources, number, row) for number, row in rows)
    held_out = {
        group
        for (number, row), group in zip(rows, groups, strict=True)
        if is_held_out(row.document, reading.held_out_share(sources[number]))
    }
    group_of = {normal(row.passage): g for (_, row), g in zip(rows, groups, strict=True)}
    kept: list[Entry] = []
    kept_out: list[JsonRow] = []
    for number, row, group in _without_duplicates(reading, rows, groups):
        source = sources[number]
        counts = reading.counts[source.label]
        side = "held_out" if group in held_out else "train"
        counts[side] += 1
        counts[f"{side}.{row.language}"] += 1
        views = _views(row, source, reading.config)
        if side == "held_out":
            kept_out.append(_held_out_row(row, source, group, views[0]))
        else:
            negatives = _negatives_of(reading, row, source, group_of, held_out | {group})
            shared = _shared_key(sources, number, row)
            kept.append(Entry(row, number, shared, group, views, negatives))
    return _table(reading, kept), kept_out


def _rows_of(reading: Reading, source: PairSource) -> list[PairRow]:
    """Return the rows of one source, capped; the held-out side is never capped."""
    share = reading.held_out_share(source)
    counts = reading.counts[source.label]
    rows = list(read_pairs(reading.root / source.path, source, reading.config.languages, counts))
    out = [row for row in rows if is_held_out(row.document, share)]
    rest = (row for row in rows if not is_held_out(row.document, share))
    return out + sampled(rest, source.cap, reading.config.seed, lambda row: row.language)


def _without_duplicates(
    reading: Reading, rows: Sequence[tuple[int, PairRow]], groups: Sequence[int]
) -> Iterator[tuple[int, PairRow, int]]:
    """Yield (source, row, group) of every question with every passage once, the first time.

    Repetitions share their passage and so their group: both are held out, or neither.
    """
    seen: set[int] = set()
    for (number, row), group in zip(rows, groups, strict=True):
        key = digest(row.language, row.question, row.passage)
        if key in seen:
            reading.counts[reading.config.data.pairs[number].label][DUPLICATES] += 1
            continue
        seen.add(key)
        yield number, row, group


def _shared_key(sources: Sequence[PairSource], number: int, row: PairRow) -> str:
    shared = sources[number].shared_ids
    return f"{number}:{row.id}" if shared else f"{number}:{row.language}:{row.id}"


def _group_keys(sources: Sequence[PairSource], number: int, row: PairRow) -> tuple[str, ...]:
    return f"id:{_shared_key(sources, number, row)}", f"passage:{normal(row.passage)}"


def _passage_limit(language: str, config: RunConfig) -> int:
    return config.data.passage_chars_by_language.get(language, config.data.passage_chars)


def _views(row: PairRow, source: PairSource, config: RunConfig) -> tuple[str, ...]:
    """Return the texts a question is paired with: the cut passage, and perhaps the sentence."""
    limit = _passage_limit(row.language, config)
    views = [cut_passage(row.passage, row.answer_start, limit, row.language)]
    if source.sentence_view and row.answer_start is not None:
        views.append(answer_sentence(row.passage, row.answer_start, limit, row.language))
    return tuple(dict.fromkeys(collapse(view) for view in views))


def _negatives_of(
    reading: Reading,
    row: PairRow,
    source: PairSource,
    group_of: Mapping[str, int],
    barred: Set[int],
) -> tuple[str, ...]:
    """Return the cut negatives that are no passage of a barred group.

    A passage of the row's own group answers it, and a held-out one is no training text.
    """
    if not row.negatives:
        return ()
    counts = reading.counts[source.label]
    limit = _passage_limit(row.language, reading.config)
    kept = [text for text in row.negatives if group_of.get(normal(text)) not in barred]
    counts["negatives"] += len(kept)
    counts["negatives_refused"] += len(row.negatives) - len(kept)
    cut = (collapse(cut_passage(text, None, limit, row.language)) for text in kept)
    return tuple(dict.fromkeys(cut))


def _held_out_row(row: PairRow, source: PairSource, group: int, passage: str) -> JsonRow:
    return {
        "id": row.id,
        "lang": row.language,
        "question": row.question,
        "passage": passage,
        "source": source.label,
        "shared_ids": source.shared_ids,
        "group_id": group,
    }


def _table(reading: Reading, entries: Sequence[Entry]) -> PairTable:
    language_of = {language: k for k, language in enumerate(reading.config.languages)}
    columns: dict[str, list[int]] = defaultdict(list)
    negatives: list[list[int]] = []
    shared_numbers: dict[str, int] = {}
    for entry in entries:
        for passage in entry.passages:
            columns["question"].append(reading.texts(entry.row.question))
            columns["passage"].append(reading.texts(passage))
            columns["language"].append(language_of[entry.row.language])
            columns["shared"].append(shared_numbers.setdefault(entry.shared, len(shared_numbers)))
            columns["group"].append(entry.group)
            columns["source"].append(entry.source)
            negatives.append([reading.texts(text) for text in entry.negatives])
    names = [name for name in PairTable.__slots__ if name != "negatives"]
    arrays = {name: np.array(columns[name], np.int32) for name in names}
    return PairTable(**arrays, negatives=_padded(negatives))


def _padded(numbers: Sequence[Sequence[int]]) -> IntArray:
    """Return rows of different lengths as one matrix, filled up with ``NO_TEXT``."""
    width = max(map(len, numbers), default=0)
    matrix = np.full((len(numbers), width), NO_TEXT, np.int32)
    for row, members in zip(matrix, numbers, strict=True):
        row[: len(members)] = members
    return matrix
