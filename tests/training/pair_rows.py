"""Rows of question-passage pairs for tests of what batches are drawn from."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st

from training.drawing import HybridDraw, HybridSettings, PairRows

N_BATCHES = 30
SIZES = st.integers(2, 12)


@st.composite
def pair_rows(draw: Any) -> Any:
    """Rows of up to four languages, with questions and passages that repeat."""
    n_rows = draw(st.integers(8, 60))
    n_groups = draw(st.integers(3, 20))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    query_language = rng.integers(0, 4, n_rows).astype(np.int32)
    passage_language = rng.integers(0, 4, n_rows).astype(np.int32)
    # Both kinds are there, so that every alpha can be drawn.
    query_language[:2], passage_language[:2] = [0, 0], [0, 1]
    return PairRows(
        question=rng.integers(0, n_rows, n_rows).astype(np.int32),
        query_language=query_language,
        passage_language=passage_language,
        group=rng.integers(0, n_groups, n_rows).astype(np.int32),
        source=rng.integers(0, 3, n_rows).astype(np.int32),
        weight=rng.choice([0.5, 1.0, 1.7], n_rows),
    )


def draws(
    rows: PairRows, alpha: float, batch_size: int, *, n: Any = N_BATCHES, seed: int = 0, **how: Any
) -> Any:
    draw = HybridDraw(rows, HybridSettings(alpha, **how), batch_size=batch_size, seed=seed)
    return list(itertools.islice(draw, n))


def even_rows(n_groups: int = 40, n_languages: int = 4) -> Any:
    """Rows in which every group has every ordered pair of languages."""
    grid = np.array(
        [
            (g, q, p)
            for g in range(n_groups)
            for q in range(n_languages)
            for p in range(n_languages)
        ],
        dtype=np.int32,
    )
    group, query, passage = grid.T
    return PairRows(
        question=group * n_languages + query,
        query_language=query,
        passage_language=passage,
        group=group,
        source=np.zeros(len(group), np.int32),
        weight=np.ones(len(group)),
    )
