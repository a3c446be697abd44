"""Mode ``balance``: every language contributes candidates of its own.

Where one language is so frequent that others are not among the nearest passages, no order can
bring these back. So each language is asked for its nearest passages too, in the same call of the
store, and all are merged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from app.core.languages.codes import primary_language
from app.core.passages.filters import combine
from app.core.search.types import SearchWarning
from app.core.types import NearestQuery, PassageFilter, VectorArray

BALANCED_LANGUAGES = 50
"""Languages that mode ``balance`` looks into, those with most passages."""

BALANCED_CANDIDATES = 20
"""Candidates that mode ``balance`` takes of each of them."""


def queries_by_language(
    vector: VectorArray, where: PassageFilter, census: Mapping[str, int]
) -> list[NearestQuery]:
    """Return a question for the nearest passages of every language.

    Args:
        vector: Query embedding, float32 of shape (dim,).
        where: Which passages are eligible.
        census: Language to number of eligible passages.
    """
    return [
        NearestQuery(
            vector,
            limit=BALANCED_CANDIDATES,
            where=combine(where, PassageFilter(languages=tags)),
        )
        for tags in list(_variants(census).values())[:BALANCED_LANGUAGES]
    ]


def balance_warnings(census: Mapping[str, int]) -> list[SearchWarning]:
    """Return what a caller should know where there are more languages than are asked."""
    languages = len(_variants(census))
    if languages <= BALANCED_LANGUAGES:
        return []
    return [
        SearchWarning(
            "balance_incomplete",
            f"Of {languages} languages the {BALANCED_LANGUAGES} with most passages were balanced.",
        )
    ]


def _variants(census: Mapping[str, int]) -> dict[str, frozenset[str]]:
    """Return primary language to its tags in the census, those with most passages first."""
    tags: defaultdict[str, set[str]] = defaultdict(set)
    for tag in census:
        tags[primary_language(tag)].add(tag)
    by_size = sorted(tags, key=lambda code: (-sum(census[tag] for tag in tags[code]), code))
    return {code: frozenset(tags[code]) for code in by_size}
