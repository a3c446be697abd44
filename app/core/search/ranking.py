"""The order of the hits, and where it is cut. Nothing here changes a hit's probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from app.core.languages.modes import LanguagePreference
from app.core.search.types import Hit, SearchRequest


@dataclass(frozen=True, slots=True)
class Ranking:
    """The whole answer, of which a page is shown.

    Attributes:
        hits: Best first.
        below_min_probability: How many candidates were left out for it.
        beyond_target_precision: How many candidates were left out for it.
    """

    hits: Sequence[Hit]
    below_min_probability: int
    beyond_target_precision: int


def rank(candidates: Sequence[Hit], request: SearchRequest) -> Ranking:
    """Order all candidates, and leave out what the request does not want.

    Equal hits are ordered by probability, then by score, then by id, so that the order is the
    same each time. Whatever the page, the whole list is ordered and cut: pages fit together.
    """
    by = _by_score if request.rank_by == "score" else _by_worth
    ordered = sorted(_weighted(candidates, request), key=by)
    kept = ordered
    if request.min_probability is not None:
        kept = [hit for hit in ordered if (hit.probability or 0.0) >= request.min_probability]
    deepest = len(kept)
    if request.target_precision is not None:
        deepest = deepest_cut([hit.probability or 0.0 for hit in kept], request.target_precision)
    return Ranking(
        hits=kept[:deepest],
        below_min_probability=len(ordered) - len(kept),
        beyond_target_precision=len(kept) - deepest,
    )


def by_probability(candidates: Sequence[Hit]) -> list[Hit]:
    """Return all candidates, most probable first, whatever a request prefers."""
    return sorted(candidates, key=_by_probability)


def deepest_cut(probabilities: Sequence[float], target: float) -> int:
    """Return the greatest number of first hits whose mean probability is at least ``target``.

    The mean probability of calibrated hits is the precision to expect of them.
    """
    sums = accumulate(probabilities)
    # A sum of equal probabilities may end a hair below their number times one of them.
    reached = [n for n, total in enumerate(sums, start=1) if total >= n * target - 1e-12 * n]
    return reached[-1] if reached else 0


def _weighted(candidates: Sequence[Hit], request: SearchRequest) -> Sequence[Hit]:
    if request.language_mode != "prefer" or request.prefer is None:
        return candidates
    preference = LanguagePreference(request.prefer)
    return [
        hit._replace(language_weight=preference.weight(hit.passage.language)) for hit in candidates
    ]


def _by_worth(hit: Hit) -> tuple[float, float, float, str]:
    probability = hit.probability or 0.0
    return (-hit.language_weight * probability, -probability, -hit.score, hit.passage.id)


def _by_probability(hit: Hit) -> tuple[float, float, str]:
    return (-(hit.probability or 0.0), -hit.score, hit.passage.id)


def _by_score(hit: Hit) -> tuple[float, str]:
    return (-hit.score, hit.passage.id)
