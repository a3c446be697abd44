"""The order of the candidates, and where it is cut. Nothing here changes a probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from app.core.languages.modes import LanguagePreference
from app.core.search.candidates import Candidates
from app.core.search.types import Hit, SearchRequest
from app.core.types import FloatArray, Passage


@dataclass(frozen=True, slots=True)
class Ranking:
    """The whole answer, of which a page is shown.

    Attributes:
        candidates: What was ranked.
        order: Places of those that are in the answer among ``candidates``, best first.
        weights: Weight of the language of every candidate; ``None`` where there are none.
        below_min_probability: How many candidates were left out for it.
        beyond_target_precision: How many candidates were left out for it.
    """

    candidates: Candidates
    order: Sequence[int]
    weights: FloatArray | None
    below_min_probability: int
    beyond_target_precision: int

    def weight(self, at: int) -> float:
        """Return the weight of a candidate's language; 1 where there are no weights."""
        return 1.0 if self.weights is None else float(self.weights[at])

    def page(self, start: int, end: int) -> list[Hit]:
        """Return the hits from one position of the answer to another, with their ranks."""
        return [
            self.candidates.hit(at, rank=rank, weight=self.weight(at))
            for rank, at in enumerate(self.order[start:end], start=start + 1)
        ]


def rank(candidates: Candidates, request: SearchRequest) -> Ranking:
    """Order all candidates, and leave out what the request does not want.

    Equal hits are ordered by probability, then by score, then by id, so that the order is the
    same each time; in hybrid retrieval without probabilities by fusion. Whatever the page, the
    whole list is ordered and cut: pages fit together.
    """
    probabilities = candidates.said.probabilities
    weights = _weights(candidates.passages, request)
    order = _ordered(candidates, weights, request)
    kept = order
    if request.min_probability is not None:
        kept = [at for at in order if probabilities[at] >= request.min_probability]
    deepest = len(kept)
    if request.target_precision is not None:
        deepest = deepest_cut(probabilities[kept].tolist(), request.target_precision)
    return Ranking(
        candidates=candidates,
        order=kept[:deepest],
        weights=weights,
        below_min_probability=len(order) - len(kept),
        beyond_target_precision=len(kept) - deepest,
    )


def by_probability(candidates: Candidates) -> list[int]:
    """Return the places of all candidates, most probable first, whatever a request prefers."""
    return _descending(candidates.said.probabilities)


def deepest_cut(probabilities: Sequence[float], target: float) -> int:
    """Return the greatest number of first hits whose mean probability is at least ``target``.

    The mean probability of calibrated hits is the precision to expect of them.
    """
    sums = accumulate(probabilities)
    # A sum of equal probabilities may end a hair below their number times one of them.
    reached = [n for n, total in enumerate(sums, start=1) if total >= n * target - 1e-12 * n]
    return reached[-1] if reached else 0


def _ordered(
    candidates: Candidates, weights: FloatArray | None, request: SearchRequest
) -> list[int]:
    # Candidates come by score and then by id, and sorting is stable: so fall all ties.
    if request.rank_by == "score":
        return list(range(len(candidates)))
    if candidates.said.words is not None and candidates.said.calibrated is None:
        return _descending(candidates.said.words.fusion)
    probabilities = candidates.said.probabilities
    if weights is None:
        return _descending(probabilities)
    order: list[int] = np.lexsort((-probabilities, -weights * probabilities)).tolist()
    return order


def _descending(values: FloatArray) -> list[int]:
    order: list[int] = np.argsort(-values, kind="stable").tolist()
    return order


def _weights(passages: Sequence[Passage], request: SearchRequest) -> FloatArray | None:
    if request.language_mode != "prefer" or request.prefer is None:
        return None
    preference = LanguagePreference(request.prefer)
    return np.array([preference.weight(passage.language) for passage in passages])
