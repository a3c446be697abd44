"""Language bias in one pool of several languages, read from the ranks of relevant passages.

Every function takes arrays of shape (queries, most relevant passages of a query): ``ranks`` as in
``training/metrics/ranking.py`` (``inf`` not returned, ``nan`` unused), ``languages`` of the same
passages, and returns one value a query, float64 of shape (queries,), NaN where it is not defined.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from app.core.types import BoolArray, FloatArray

LanguageArray: TypeAlias = NDArray[np.str_] | NDArray[np.int64]
"""Languages by code or by number; what unused cells hold does not matter."""


def spans_languages(ranks: FloatArray, languages: LanguageArray) -> BoolArray:
    """Return for which queries the relevant passages are in at least two languages."""
    used = ~np.isnan(ranks)
    some = languages[np.arange(len(ranks)), used.argmax(axis=1)]
    spans: BoolArray = (used & (languages != some[:, None])).any(axis=1)
    return spans


def rank_distance(ranks: FloatArray, languages: LanguageArray) -> FloatArray:
    """Return the largest minus the smallest rank of the relevant (parallel) passages.

    Elmahdy et al. 2024, after Huang et al. 2023. Not defined where the relevant passages are all
    in one language, nor where one of them was not returned, because its rank is not known. It
    grows with the pool; compare it on one corpus only.
    """
    used = ~np.isnan(ranks)
    known = spans_languages(ranks, languages) & ~np.isinf(ranks).any(axis=1)
    last = np.where(used, ranks, -np.inf).max(axis=1, where=known[:, None], initial=-np.inf)
    first = np.where(used, ranks, np.inf).min(axis=1, where=known[:, None], initial=np.inf)
    return np.where(known, last - first, np.nan)


def first_relevant_is_same(
    ranks: FloatArray, languages: LanguageArray, asked: LanguageArray
) -> FloatArray:
    """Return whether the first relevant passage is in the query's language; its mean is LPR@1.

    Not defined for a query that finds nothing, nor for one whose relevant passages leave no
    choice: all in its language, or none.

    Args:
        ranks: As above.
        languages: As above.
        asked: Language of every query, shape (queries,).
    """
    found = np.where(np.isnan(ranks), np.inf, ranks)
    best = found.argmin(axis=1)
    same = languages == asked[:, None]
    own = (same & ~np.isnan(ranks)).any(axis=1)
    choice = own & spans_languages(ranks, languages) & np.isfinite(found).any(axis=1)
    return np.where(choice, same[np.arange(len(ranks)), best].astype(np.float64), np.nan)


def peer(
    ranks: FloatArray,
    grades: FloatArray,
    languages: LanguageArray,
    *,
    cutoff: int | None = None,
    weights: Mapping[int, float] | None = None,
) -> FloatArray:
    """Return the probability of equal expected rank, PEER (Yang et al. 2024, arXiv 2405.00978).

    Per query and relevance grade, the p-value of a Kruskal-Wallis test that relevant passages of
    all languages have the same expected rank, averaged over the grades. 1 is fair. Passages below
    the cut-off, or not returned, share one tied rank behind all others. A grade with passages in
    one language only counts 1, and so does one that ties completely.

    The test ranks the passages of a grade among themselves, as Kruskal-Wallis does; the authors'
    own code puts positions in the run into the same formula instead.

    Args:
        ranks: As above.
        grades: Grades aligned with ``ranks``.
        languages: As above.
        cutoff: Positions that count; all of them where it is ``None``.
        weights: Grade to weight, renormalised over the grades a query has; equal by default.
    """
    below = ranks > (np.inf if cutoff is None else cutoff)
    placed = np.where(below, np.inf, ranks)
    values = np.full(len(ranks), np.nan)
    for row in range(len(ranks)):
        used = ~np.isnan(ranks[row])
        present = np.unique(grades[row, used])
        share = [1.0 if weights is None else weights.get(int(grade), 0.0) for grade in present]
        if sum(share) > 0:
            cells = [used & (grades[row] == grade) for grade in present]
            p_values = [_equal_rank(placed[row, c], languages[row, c]) for c in cells]
            values[row] = np.average(p_values, weights=share)
    return values


def peer_can_differ(ranks: FloatArray, grades: FloatArray, languages: LanguageArray) -> BoolArray:
    """Return for which queries PEER depends on the order of the relevant passages.

    It needs a grade with at least two languages and two passages in one of them. With one passage
    a language, as in parallel test sets, the statistic of n languages is n - 1 in any order.
    """
    answer = np.zeros(len(ranks), dtype=np.bool_)
    for row in range(len(ranks)):
        used = ~np.isnan(ranks[row])
        for grade in np.unique(grades[row, used]):
            counts = np.unique(languages[row, used & (grades[row] == grade)], return_counts=True)[1]
            answer[row] |= len(counts) > 1 and counts.max() > 1
    return answer


def _equal_rank(ranks: FloatArray, languages: LanguageArray) -> float:
    groups = [ranks[languages == code] for code in np.unique(languages)]
    if len(groups) < 2 or np.unique(ranks).size < 2:
        return 1.0
    # Ranked before the test: infinite values are positions to us and no numbers to scipy.
    order = stats.rankdata(ranks)
    samples = [order[languages == code] for code in np.unique(languages)]
    return float(stats.kruskal(*samples).pvalue)
