"""Reads all sources of parallel text and all lexicons: split by document, without duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from training.config import ParallelSource
from training.data import ParallelRow, is_held_out, read_parallel
from training.data_groups import sampled
from training.data_passage import cut_text
from training.data_prepared import NO_TEXT, ParallelTable
from training.prepare_sources import DUPLICATES, JsonRow, Reading, digest


def read_parallel_table(reading: Reading) -> tuple[ParallelTable, list[JsonRow]]:
    """Return the training rows of all sources, and the rows that are held out.

    A row that is held out in one source is no training row of another.

    Raises:
        DataError: A file breaks its schema.
    """
    sources = (*reading.config.data.parallel, *reading.config.data.lexicon)
    sides = [
        _split(reading, source) for source in reading.tracked(sources, "Reading parallel rows")
    ]
    kept_out: list[JsonRow] = []
    seen: set[int] = set()
    for source, (_, out) in zip(sources, sides, strict=True):
        kept_out += [
            {"id": row.id, "source": source.label, "texts": row.texts}
            for row in _new(reading, source, out, seen, "held_out")
        ]
    matrix: list[list[int]] = []
    source_of: list[int] = []
    for number, (source, (train, _)) in enumerate(zip(sources, sides, strict=True)):
        for row in _new(reading, source, train, seen, "train"):
            matrix.append(_numbers_of(reading, row.texts))
            source_of.append(number)
    width = len(reading.config.languages)
    texts = np.array(matrix, np.int32).reshape(len(matrix), width)
    return ParallelTable(texts, np.array(source_of, np.int32)), kept_out


def _split(reading: Reading, source: ParallelSource) -> tuple[list[ParallelRow], list[ParallelRow]]:
    """Return the training rows, capped, and the held-out rows of one source."""
    share = reading.held_out_share(source)
    rows = list(read_parallel(reading.root / source.path, source, reading.config.languages))
    out = [row for row in rows if is_held_out(row.document, share)]
    rest = (row for row in rows if not is_held_out(row.document, share))
    return sampled(rest, source.cap, reading.config.seed, lambda _: ""), out


def _new(
    reading: Reading,
    source: ParallelSource,
    rows: Sequence[ParallelRow],
    seen: set[int],
    side: str,
) -> Iterator[ParallelRow]:
    """Yield the rows whose texts were not seen before, in these languages together."""
    counts = reading.counts[source.label]
    counts[side] += 0  # a side without rows is reported as such
    for row in rows:
        key = digest(*(part for member in sorted(row.texts.items()) for part in member))
        if key in seen:
            counts[DUPLICATES] += 1
            continue
        seen.add(key)
        counts[side] += 1
        counts.update(f"{side}.{language}" for language in row.texts)
        yield row


def _numbers_of(reading: Reading, texts: Mapping[str, str]) -> list[int]:
    limit = reading.config.data.max_text_chars
    return [
        reading.texts(cut_text(texts[language], limit)) if language in texts else NO_TEXT
        for language in reading.config.languages
    ]
