"""Turns the tables of a prepared directory into the datasets that batches are drawn from.

A row holds numbers only: of texts, languages and groups. Texts are looked up when a batch is
collated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from training.data_prepared import NO_TEXT, IntArray, PairTable, ParallelTable
from training.errors import RunError


def cross_pairs(table: PairTable, limit: int | None, seed: int) -> tuple[IntArray, IntArray]:
    """Return all ordered pairs of entries that are translations in two different languages.

    Args:
        table: The entries.
        limit: Most pairs of one shared id, drawn by the seed; all of them if ``None``.
        seed: See there.

    Returns:
        Entry of the question and entry of the passage, both (n_pairs,).
    """
    order = np.argsort(table.shared, kind="stable")
    starts = np.flatnonzero(np.diff(table.shared[order], prepend=-1))
    rng = np.random.default_rng((seed, 2))
    questions: list[IntArray] = []
    passages: list[IntArray] = []
    for members in np.split(order, starts[1:]):
        if len(members) < 2:
            continue
        first, second = np.meshgrid(members, members, indexing="ij")
        pairs = np.flatnonzero(table.language[first.ravel()] != table.language[second.ravel()])
        if limit is not None and len(pairs) > limit:
            pairs = rng.choice(pairs, limit, replace=False)
        questions.append(first.ravel()[pairs].astype(np.int32))
        passages.append(second.ravel()[pairs].astype(np.int32))
    if not questions:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    return np.concatenate(questions), np.concatenate(passages)


def pair_dataset(
    table: PairTable, weights: Sequence[float], *, max_cross_pairs: int | None, seed: int
) -> Dataset:
    """Return the rows that hybrid batches are drawn from: monolingual first, then cross-lingual.

    Columns: ``question`` and ``passage`` (numbers of texts), ``query_language``,
    ``passage_language``, ``group``, ``source``, ``weight``; and ``entry``, that of the passage.

    Args:
        table: The entries.
        weights: Weight of each source of pairs.
        max_cross_pairs: See ``cross_pairs``.
        seed: See there.

    Raises:
        RunError: There is no entry.
    """
    if not len(table):
        raise RunError("A hybrid stage needs [[data.pairs]] sources with training rows.")
    mono = np.arange(len(table), dtype=np.int32)
    cross_questions, cross_passages = cross_pairs(table, max_cross_pairs, seed)
    questions = np.concatenate([mono, cross_questions])
    passages = np.concatenate([mono, cross_passages])
    return Dataset.from_dict(
        {
            "question": table.question[questions],
            "passage": table.passage[passages],
            "query_language": table.language[questions],
            "passage_language": table.language[passages],
            "group": table.group[questions],
            "entry": passages,
            "source": table.source[questions],
            "weight": np.asarray(weights, dtype=np.float32)[table.source[questions]],
        }
    )


def parallel_dataset(table: ParallelTable, pivot: int | None) -> Dataset:
    """Return the rows that align batches are drawn from.

    Columns: ``row`` (number of the parallel row), ``source``, ``group``: equal for rows with the
    same text in the pivot language, or in the first language they have.

    Args:
        table: The parallel rows.
        pivot: Column of the pivot language; ``None`` if the run does not have it.

    Raises:
        RunError: There is no row.
    """
    if not len(table):
        raise RunError("An align batch needs a [[data.parallel]] or [[data.lexicon]] source.")
    present = table.texts != NO_TEXT
    first = table.texts[np.arange(len(table)), present.argmax(axis=1)]
    group = first if pivot is None else np.where(present[:, pivot], table.texts[:, pivot], first)
    numbers = np.arange(len(table), dtype=np.int32)
    return Dataset.from_dict({"row": numbers, "source": table.source, "group": group})
