"""Draws hybrid batches: monolingual with probability alpha, cross-lingual otherwise.

Plain numpy: it knows neither torch nor texts, and everything it draws is decided by its seed.

Invariants, each a property test: a homogeneous batch is monolingual in one language, or wholly
cross-lingual; no two members of a batch share a group or a question; batches are never longer
than asked for, and shorter only where a language has fewer groups than that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.errors import RunError
from training.pools import BatchInMaking, FloatArray, GroupPool, IntArray, RowArray, set_weights


@dataclass(frozen=True, slots=True, eq=False)
class PairRows:
    """Rows that a hybrid batch is drawn from; all arrays are (n_rows,).

    Attributes:
        question: int32, equal for equal questions.
        query_language: int32.
        passage_language: int32.
        group: int32, the passage group.
        source: int32, the set that the row is from.
        weight: float64, how often the row's group is drawn relative to a weight of 1.
    """

    question: IntArray
    query_language: IntArray
    passage_language: IntArray
    group: IntArray
    source: IntArray
    weight: FloatArray

    def __len__(self) -> int:
        return len(self.group)

    @property
    def is_monolingual(self) -> NDArray[np.bool_]:
        """Whether question and passage are in one language, (n_rows,)."""
        return np.equal(self.query_language, self.passage_language)


@dataclass(frozen=True, slots=True)
class HybridSettings:
    """How hybrid batches are drawn.

    Attributes:
        alpha: Probability that a batch (``homogeneous``) or a member (``mixed``) is monolingual.
        kind: See ``HybridStage.batches``.
        language_exponent: Monolingual batches, or the monolingual members of a mixed batch, are
            in language l with probability proportional to weight_l * n_groups_l ** exponent.
        language_weights: weight_l by language number; 1 where a language is missing. In a
            cross-lingual pair the weights of both languages multiply.
        set_exponent: Among the rows of a language, and among the cross-lingual ones, sets are
            drawn as ``set_weights`` says.
    """

    alpha: float
    kind: Literal["homogeneous", "mixed"] = "homogeneous"
    language_exponent: float = 0.5
    language_weights: Mapping[int, float] = field(default_factory=dict)
    set_exponent: float = 1.0


class HybridDraw:
    """An endless sequence of hybrid batches, decided by its seed.

    Args:
        rows: What to draw from.
        settings: How.
        batch_size: Longest batch.
        seed: Anything ``numpy.random.default_rng`` takes.

    Raises:
        RunError: alpha asks for monolingual or cross-lingual pairs, and there are none.
    """

    def __init__(
        self,
        rows: PairRows,
        settings: HybridSettings,
        *,
        batch_size: int,
        seed: int | Sequence[int] = 0,
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._settings = settings
        self._batch_size = batch_size
        self._keys = (rows.group, rows.question)
        self._mono = self._monolingual_pools(rows)
        self._cross = self._cross_pool(rows)
        self._refuse_impossible()
        weights, exponent = settings.language_weights, settings.language_exponent
        parts = np.array(
            [weights.get(lang, 1.0) * pool.n_groups**exponent for lang, pool in self._mono.items()]
        )
        self._languages = list(self._mono)
        self._language_shares: FloatArray = parts / parts.sum() if len(parts) else parts

    def __iter__(self) -> Iterator[list[int]]:
        """Yield lists of row numbers, for ever."""
        draw = self._homogeneous if self._settings.kind == "homogeneous" else self._mixed
        while True:
            # A small pool whose groups weigh less than 1 may offer none of them in a cycle.
            if rows := draw().rows:
                yield rows

    def _homogeneous(self) -> BatchInMaking:
        batch = BatchInMaking(self._keys)
        if self._rng.random() < self._settings.alpha:
            number = int(self._rng.choice(len(self._languages), p=self._language_shares))
            self._mono[self._languages[number]].fill(batch, self._batch_size)
        else:
            self._cross_lingual.fill(batch, self._batch_size)
        return batch

    def _mixed(self) -> BatchInMaking:
        batch = BatchInMaking(self._keys)
        n_mono = int(self._rng.binomial(self._batch_size, self._settings.alpha))
        if n_mono:
            counts = self._rng.multinomial(n_mono, self._language_shares).tolist()
            for language, count in zip(self._languages, counts, strict=True):
                self._mono[language].fill(batch, len(batch.rows) + count)
        n_cross = self._batch_size - n_mono
        if n_cross:
            self._cross_lingual.fill(batch, len(batch.rows) + n_cross)
        self._rng.shuffle(batch.rows)
        return batch

    @property
    def _cross_lingual(self) -> GroupPool:
        assert self._cross is not None, "alpha < 1 without cross-lingual rows is refused above"
        return self._cross

    def _monolingual_pools(self, rows: PairRows) -> dict[int, GroupPool]:
        pools = {}
        for language in np.unique(rows.query_language[rows.is_monolingual]).tolist():
            mine = np.flatnonzero(rows.is_monolingual & (rows.query_language == language))
            pools[language] = self._pool(rows, mine, None)
        return pools

    def _pool(self, rows: PairRows, mine: RowArray, preference: FloatArray | None) -> GroupPool:
        group = rows.group[mine]
        exponent = self._settings.set_exponent
        weight = set_weights(rows.weight[mine], rows.source[mine], group, exponent)
        return GroupPool(mine, group, weight, preference, self._rng)

    def _cross_pool(self, rows: PairRows) -> GroupPool | None:
        mine = np.flatnonzero(~rows.is_monolingual)
        if not len(mine):
            return None
        query, passage = rows.query_language[mine], rows.passage_language[mine]
        numbers = range(int(max(query.max(), passage.max())) + 1)
        weights = self._settings.language_weights
        weight_of = np.array([weights.get(language, 1.0) for language in numbers])
        return self._pool(rows, mine, weight_of[query] * weight_of[passage])

    def _refuse_impossible(self) -> None:
        alpha = self._settings.alpha
        if alpha > 0 and not self._mono:
            raise RunError(f"alpha is {alpha}, but no pair has both sides in one language.")
        if alpha < 1 and self._cross is None:
            raise RunError(
                f"alpha is {alpha}, but there is no cross-lingual pair. Mark a source whose ids "
                "are shared by its languages with shared_ids = true, or set alpha = 1."
            )


class AlignDraw:
    """An endless sequence of batches of parallel rows, drawn from sources by their shares.

    Args:
        source: (n_rows,) source of each row.
        group: (n_rows,) rows of one group never meet in a batch.
        shares: Relative share of a source, by number; rows of sources with share 0 or without
            one are left out.
        batch_size: Longest batch.
        set_exponent: A source is drawn with probability proportional to its share times
            n_groups ** exponent: 0 by its share alone, whatever its size.
        seed: Anything ``numpy.random.default_rng`` takes.

    Raises:
        RunError: There is nothing to draw from.
    """

    def __init__(  # noqa: PLR0913 - what is drawn from, and how
        self,
        source: IntArray,
        group: IntArray,
        *,
        shares: Mapping[int, float],
        batch_size: int,
        set_exponent: float = 0.0,
        seed: int | Sequence[int] = 0,
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._keys = (group,)
        self._batch_size = batch_size
        present = set(np.unique(source).tolist())
        kept = [number for number, share in shares.items() if share > 0 and number in present]
        if not kept:
            raise RunError("An align batch needs a [[data.parallel]] or [[data.lexicon]] source.")
        self._pools = []
        for number in kept:
            rows = np.flatnonzero(source == number)
            pool = GroupPool(rows, group[rows], np.ones(len(rows)), None, self._rng)
            self._pools.append(pool)
        sizes = np.array([pool.n_groups for pool in self._pools], dtype=np.float64)
        parts = np.array([shares[number] for number in kept]) * sizes**set_exponent
        self._shares = parts / parts.sum()

    def __iter__(self) -> Iterator[list[int]]:
        """Yield lists of row numbers, for ever."""
        while True:
            batch = BatchInMaking(self._keys)
            counts = self._rng.multinomial(self._batch_size, self._shares)
            for pool, count in zip(self._pools, counts.tolist(), strict=True):
                pool.fill(batch, len(batch.rows) + count)
            yield batch.rows
