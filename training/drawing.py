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

IntArray = NDArray[np.int32]
RowArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Generator = np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class PairRows:
    """Rows that a hybrid batch is drawn from; all arrays are (n_rows,).

    Attributes:
        question: int32, equal for equal questions.
        query_language: int32.
        passage_language: int32.
        group: int32, the passage group.
        weight: float64, how often the row's group is drawn relative to a weight of 1.
    """

    question: IntArray
    query_language: IntArray
    passage_language: IntArray
    group: IntArray
    weight: FloatArray

    def __len__(self) -> int:
        return len(self.group)

    @property
    def is_monolingual(self) -> NDArray[np.bool_]:
        """Whether question and passage are in one language, (n_rows,)."""
        return np.equal(self.query_language, self.passage_language)


class _Batch:
    """A batch in the making: refuses a row that shares a key with a member."""

    def __init__(self, keys: Sequence[IntArray]) -> None:
        self.rows: list[int] = []
        self._keys = keys
        self._seen: list[set[int]] = [set() for _ in keys]

    def add(self, row: int) -> bool:
        """Add a row, or return False and leave the batch as it is."""
        values = [int(key[row]) for key in self._keys]
        if any(value in seen for value, seen in zip(values, self._seen, strict=True)):
            return False
        for value, seen in zip(values, self._seen, strict=True):
            seen.add(value)
        self.rows.append(row)
        return True


class _Pool:
    """Rows that are drawn cycle after cycle; every group comes once a cycle, with one of its rows.

    Drawing by group and not by row keeps a passage with twenty questions, or a text with two
    hundred language pairs, from being seen more often than others.

    Args:
        rows: (n,) the rows.
        group: (n,) their groups.
        weight: (n,) how often a group is drawn; 1.5 is once a cycle, and twice in every other.
        preference: (n,) relative probability of a row within its group; where it is ``None`` the
            rows of a group take turns.
        rng: Source of randomness; the pool draws from it on every refill.
    """

    def __init__(
        self,
        rows: RowArray,
        group: IntArray,
        weight: FloatArray,
        preference: FloatArray | None,
        rng: Generator,
    ) -> None:
        shuffled = rng.permutation(len(rows))
        order = shuffled[np.argsort(group[shuffled], kind="stable")]
        self._rows: RowArray = rows[order]
        _, self._starts, self._sizes = np.unique(
            group[order], return_index=True, return_counts=True
        )
        self._weight = weight[order][self._starts]
        preferences = np.ones(len(rows)) if preference is None else preference[order]
        self._takes_turns = preference is None
        self._cumulative = np.concatenate([[0.0], np.cumsum(preferences)])
        self._rng = rng
        self._cycle = 0
        self._queue: list[int] = []

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self._starts)

    def fill(self, batch: _Batch, size: int) -> None:
        """Add rows until the batch has ``size`` members, or every group has been offered once."""
        refills = 0
        refused: list[int] = []
        queue = self._queue
        position = 0
        while len(batch.rows) < size:
            if position == len(queue):
                if refills == 1:
                    break
                # What this batch refused waits for its group's turn in the new cycle.
                queue, position, refused, refills = self._new_cycle(), 0, [], refills + 1
                continue
            if not batch.add(queue[position]):
                refused.append(queue[position])
            position += 1
        self._queue = refused + queue[position:] if len(batch.rows) == size else []

    def _new_cycle(self) -> list[int]:
        copies = np.floor(self._weight + self._rng.random(self.n_groups)).astype(np.int64)
        groups = self._rng.permutation(np.repeat(np.arange(self.n_groups), copies))
        self._cycle += 1
        return [int(row) for row in self._rows[self._pick(groups)]]

    def _pick(self, groups: RowArray) -> RowArray:
        starts, sizes = self._starts[groups], self._sizes[groups]
        if self._takes_turns:
            return np.add(starts, self._cycle % sizes)
        low, high = self._cumulative[starts], self._cumulative[starts + sizes]
        drawn = low + self._rng.random(len(groups)) * (high - low)
        chosen = np.searchsorted(self._cumulative, drawn, side="right") - 1
        picked: RowArray = np.clip(chosen, starts, starts + sizes - 1)
        return picked


@dataclass(frozen=True, slots=True)
class HybridSettings:
    """How hybrid batches are drawn.

    Attributes:
        alpha: Probability that a batch (``homogeneous``) or a member (``mixed``) is monolingual.
        kind: See ``HybridStage.batches``.
        language_exponent: Monolingual batches are in language l with probability proportional to
            weight_l * n_groups_l ** exponent.
        language_weights: weight_l by language number; 1 where a language is missing. In a
            cross-lingual pair the weights of both languages multiply.
    """

    alpha: float
    kind: Literal["homogeneous", "mixed"] = "homogeneous"
    language_exponent: float = 0.5
    language_weights: Mapping[int, float] = field(default_factory=dict)


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

    def _homogeneous(self) -> _Batch:
        batch = _Batch(self._keys)
        if self._rng.random() < self._settings.alpha:
            number = int(self._rng.choice(len(self._languages), p=self._language_shares))
            self._mono[self._languages[number]].fill(batch, self._batch_size)
        else:
            self._cross_lingual.fill(batch, self._batch_size)
        return batch

    def _mixed(self) -> _Batch:
        batch = _Batch(self._keys)
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
    def _cross_lingual(self) -> _Pool:
        assert self._cross is not None, "alpha < 1 without cross-lingual rows is refused above"
        return self._cross

    def _monolingual_pools(self, rows: PairRows) -> dict[int, _Pool]:
        pools = {}
        for language in np.unique(rows.query_language[rows.is_monolingual]).tolist():
            mine = np.flatnonzero(rows.is_monolingual & (rows.query_language == language))
            pools[language] = _Pool(mine, rows.group[mine], rows.weight[mine], None, self._rng)
        return pools

    def _cross_pool(self, rows: PairRows) -> _Pool | None:
        mine = np.flatnonzero(~rows.is_monolingual)
        if not len(mine):
            return None
        query, passage = rows.query_language[mine], rows.passage_language[mine]
        numbers = range(int(max(query.max(), passage.max())) + 1)
        weights = self._settings.language_weights
        weight_of = np.array([weights.get(language, 1.0) for language in numbers])
        preference = weight_of[query] * weight_of[passage]
        return _Pool(mine, rows.group[mine], rows.weight[mine], preference, self._rng)

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
        seed: Anything ``numpy.random.default_rng`` takes.

    Raises:
        RunError: There is nothing to draw from.
    """

    def __init__(
        self,
        source: IntArray,
        group: IntArray,
        *,
        shares: Mapping[int, float],
        batch_size: int,
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
            pool = _Pool(rows, group[rows], np.ones(len(rows)), None, self._rng)
            self._pools.append(pool)
        parts = np.array([shares[number] for number in kept])
        self._shares = parts / parts.sum()

    def __iter__(self) -> Iterator[list[int]]:
        """Yield lists of row numbers, for ever."""
        while True:
            batch = _Batch(self._keys)
            counts = self._rng.multinomial(self._batch_size, self._shares)
            for pool, count in zip(self._pools, counts.tolist(), strict=True):
                pool.fill(batch, len(batch.rows) + count)
            yield batch.rows
