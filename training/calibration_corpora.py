"""Draws the corpora of a ladder: smaller ones than the pool, as different as users' are.

A corpus is the relevant passages of some queries, in all their languages, and as many others at
random. Relevant passages fill at most half of it. Where the others come from is its composition:

- ``everything``: from the whole pool;
- ``languages``: from the passages in some languages, one to all of them;
- ``source``: from the passages of one data set, so that all are about the same things.

A calibrator that has seen many languages in one corpus only cannot tell the size of a corpus from
that of a language in it, and one that has seen mixed subjects only takes near misses for rare.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.core.types import BoolArray
from training.calibration_config import Composition
from training.retrieval_set import RetrievalSet, RowArray

_RELEVANT_SHARE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """Draws corpora from a pool.

    Attributes:
        data: The pool.
        asked: Rows of the queries that may be asked.
        passage_source: Number of the source of every passage.
        compositions: Which compositions are drawn, each as often as the others.
        rng: What decides.
    """

    data: RetrievalSet
    asked: RowArray
    passage_source: RowArray
    compositions: Sequence[Composition]
    rng: np.random.Generator

    def corpora(self, size: int | None, queries: int) -> Iterator[tuple[RowArray, RowArray]]:
        """Yield (queries, eligible passages) until so many queries are served.

        Args:
            size: Number of passages; ``None`` is the whole pool, with all its queries.
            queries: How many queries to serve at least.
        """
        if size is None:
            yield self.asked, np.arange(len(self.data.passages))
            return
        served = 0
        while served < queries:
            eligible = self._eligible(size)
            asked, needed = self._queries(int(size * _RELEVANT_SHARE), eligible)
            if not len(asked):
                continue
            rest = np.setdiff1d(np.flatnonzero(eligible), needed)
            others = self.rng.permutation(rest)[: size - len(needed)]
            yield asked, np.sort(np.concatenate([needed, others]))
            served += len(asked)

    def unanswered(self, answered: int, share: float) -> RowArray:
        """Draw so many queries that they are ``share`` of all lists of a corpus."""
        wanted = round(answered * share / (1.0 - share))
        drawn: RowArray = np.sort(self.rng.permutation(self.asked)[:wanted])
        return drawn

    def without_answers(self, queries: RowArray, eligible: RowArray) -> RowArray:
        """Return the passages that are no answer, and no undecided one, to any of the queries."""
        answers = [self.data.relevant[query] for query in queries]
        undecided = [self.data.unjudged[query] for query in queries]
        return np.setdiff1d(eligible, np.concatenate([*answers, *undecided, eligible[:0]]))

    def _eligible(self, size: int) -> BoolArray:
        """Draw which passages a corpus of some size may hold."""
        everything = np.ones(len(self.data.passages), dtype=np.bool_)
        composition = self.compositions[0]
        if len(self.compositions) > 1:
            composition = self.compositions[int(self.rng.integers(len(self.compositions)))]
        if composition == "everything":
            return everything
        label = self.data.passage_languages if composition == "languages" else self.passage_source
        names, number = np.unique(label, return_inverse=True)
        some = 1 if composition == "source" else self.rng.integers(1, len(names) + 1)
        chosen = np.isin(number, self.rng.permutation(len(names))[:some])
        return chosen if chosen.sum() >= size else everything

    def _queries(self, most: int, eligible: BoolArray) -> tuple[RowArray, RowArray]:
        """Draw queries while their eligible relevant passages fit; at least one that has some."""
        needed: set[int] = set()
        asked: list[int] = []
        for query in self.rng.permutation(self.asked):
            relevant = self.data.relevant[query]
            relevant = relevant[eligible[relevant]]
            grown = needed.union(relevant.tolist())
            if asked and len(grown) > most:
                break
            if len(relevant):
                needed = grown
                asked.append(int(query))
        return np.array(sorted(asked), dtype=np.int64), np.array(sorted(needed), dtype=np.int64)
