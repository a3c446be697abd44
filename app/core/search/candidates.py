"""The candidates of an answer in columns: a hit is made only of what is shown.

A hundred candidates are judged for every search, and ten of them are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.core.calibration.lists import CalibratedList
from app.core.search.types import Hit
from app.core.types import FloatArray, Passage

HIT_BYTES = 150
"""What ``Statements`` take for a candidate, about."""


class LexicalOrder(NamedTuple):
    """How candidates stand by their words, in hybrid retrieval.

    Attributes:
        scores: BM25, float64 of shape (n,); 0 where no word is shared with the query.
        ranks: Positions by score and then by id, from 1, int64 of shape (n,); 0 where that is 0.
    """

    scores: FloatArray
    ranks: NDArray[np.int64]


def lexical_order(passages: Sequence[Passage], lexical: Mapping[str, float]) -> LexicalOrder:
    """Return how candidates stand by their words.

    Args:
        passages: The candidates.
        lexical: Id to lexical score of those that share a word with the query.
    """
    ids = [passage.id for passage in passages]
    scores = np.array([lexical.get(passage_id, 0.0) for passage_id in ids], dtype=np.float64)
    ranks = np.zeros(len(ids), dtype=np.int64)
    places = [at for at in range(len(ids)) if scores[at] > 0.0]
    places.sort(key=lambda at: (-scores[at], ids[at]))
    ranks[places] = np.arange(1, len(places) + 1)
    return LexicalOrder(scores, ranks)


@dataclass(frozen=True, slots=True, eq=False)
class WordStatements:
    """What words say of candidates, in hybrid retrieval.

    Attributes:
        scores: BM25, float64 of shape (n,); 0 where no word is shared with the query.
        ranks: Positions by score, from 1, int64 of shape (n,); 0 where that is 0.
        fusion: What they are worth by words and vector together, float64 of shape (n,).
    """

    scores: FloatArray
    ranks: NDArray[np.int64]
    fusion: FloatArray

    def added(self, hit: Hit, at: int) -> Hit:
        """Return a hit with what words say of it; ``at`` is its place among the candidates."""
        return hit._replace(
            lexical_score=float(self.scores[at]),
            lexical_rank=int(self.ranks[at]) or None,
            fusion=float(self.fusion[at]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Statements:
    """What is stated of candidates, beside what their passages say; best score first.

    Attributes:
        scores: Cosines, float64 of shape (n,).
        calibrated: Their probabilities; ``None`` without calibrator.
        shadow: What a shadow calibrator would have stated, float64 of shape (n,); ``None`` without.
        words: What words say of them; ``None`` in dense retrieval.
    """

    scores: FloatArray
    calibrated: CalibratedList | None
    shadow: FloatArray | None = None
    words: WordStatements | None = None

    @property
    def probabilities(self) -> FloatArray:
        """Probabilities to order by, float64 of shape (n,); 0 where there is no calibrator."""
        if self.calibrated is None:
            return np.zeros(len(self.scores))
        return self.calibrated.probability

    def hit(self, at: int, passage: Passage, *, rank: int = 0, weight: float = 1.0) -> Hit:
        """Return a candidate as a hit.

        Args:
            at: Which one, from 0.
            passage: Its passage.
            rank: Its position in the whole answer, from 1; 0 where it has none.
            weight: Weight of its language.
        """
        hit = self._judged(at, passage, rank, weight)
        return hit if self.words is None else self.words.added(hit, at)

    def _judged(self, at: int, passage: Passage, rank: int, weight: float) -> Hit:
        score = float(self.scores[at])
        stated = self.calibrated
        if stated is None:
            return Hit(
                passage,
                score,
                None,
                "uncalibrated",
                extrapolated=False,
                rank=rank,
                score_rank=at + 1,
                language_weight=weight,
            )
        ends = stated.interval
        return Hit(
            passage,
            score,
            float(stated.probability[at]),
            stated.source_of(at),
            extrapolated=bool(stated.extrapolated[at]),
            rank=rank,
            score_rank=at + 1,
            standing=stated.standings.of(at),
            language_weight=weight,
            interval=None if ends is None else (float(ends[0, at]), float(ends[1, at])),
            shadow_probability=None if self.shadow is None else float(self.shadow[at]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The candidates of an answer, best score first and then by id.

    Attributes:
        passages: What was found.
        said: What is stated of them.
    """

    passages: Sequence[Passage]
    said: Statements

    def __len__(self) -> int:
        return len(self.passages)

    def hit(self, at: int, *, rank: int = 0, weight: float = 1.0) -> Hit:
        """Return a candidate as a hit; see ``Statements.hit``."""
        return self.said.hit(at, self.passages[at], rank=rank, weight=weight)

    def hits(self) -> list[Hit]:
        """Return all of them, without a rank."""
        return [self.hit(at) for at in range(len(self))]
