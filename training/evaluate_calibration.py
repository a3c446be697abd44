"""How well probabilities hold on judged hits: by relation, by query language, at rank 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from app.core.calibration.calibrator import Calibrator
from app.core.types import BoolArray, FloatArray
from training.calibration_corpora import Drawing
from training.evaluate import EmbeddedSet
from training.metrics.calibration import measure
from training.reference_calibrators import ScoreMap
from training.served import HitTable, concatenate
from training.served_hybrid import served
from training.words import WordIndex

HitsToProbability: TypeAlias = Callable[[HitTable], FloatArray]

OURS = "logit-linear"
MIN_HITS = 200
"""Groups with fewer hits are left out: their numbers would be noise."""


def serve_all(embedded: EmbeddedSet, words: WordIndex | None = None) -> HitTable:
    """Serve every query of a set from the pool of all its languages; see ``served``."""
    data = embedded.data
    return served(
        data,
        embedded.queries,
        embedded.passages,
        words,
        asked=np.arange(len(data.queries)),
        pool=np.arange(len(data.passages)),
    )


def by_score(method: ScoreMap) -> HitsToProbability:
    """Return a calibrator of the score alone as a function of hits."""
    return lambda hits: method(hits.score)


def serve_growing(
    embedded: EmbeddedSet,
    sizes: Sequence[int],
    *,
    queries: int,
    words: WordIndex | None = None,
    seed: int = 0,
) -> dict[int, HitTable]:
    """Serve queries of a set from corpora of several sizes drawn from it, and from the whole.

    Args:
        embedded: The set.
        sizes: Numbers of passages; those that are not below the whole are left out.
        queries: How many queries to serve at each size at least, from as many corpora as it
            takes; the whole answers all of them.
        words: Those of the set, for hybrid lists; ``None`` for dense ones.
        seed: Decides the corpora.

    Returns:
        Number of passages to judged hits, ascending.
    """
    data, whole = embedded.data, len(embedded.data.passages)
    everyone = np.arange(len(data.queries))
    drawing = Drawing(
        data,
        everyone,
        np.zeros(whole, dtype=np.int64),
        ("everything",),
        np.random.default_rng(seed),
    )
    tables: dict[int, HitTable] = {}
    for size in sorted(size for size in sizes if size < whole):
        tables[size] = concatenate(
            [
                served(data, embedded.queries, embedded.passages, words, asked=asked, pool=pool)
                for asked, pool in drawing.corpora(size, queries)
            ]
        )
    tables[whole] = serve_all(embedded, words)
    return tables


def ours(calibrator: Calibrator) -> HitsToProbability:
    """Return the calibrator as a function of hits whose languages are known."""

    def probability(hits: HitTable) -> FloatArray:
        return calibrator.hit_probability(hits.features())

    return probability


def measure_groups(
    hits: HitTable, methods: Mapping[str, HitsToProbability], *, languages: bool = False
) -> dict[str, dict[str, Any]]:
    """Measure methods on groups of hits.

    Args:
        hits: Judged hits.
        methods: Name to method.
        languages: Also measure every query language in each relation.

    Returns:
        Group (``all``, ``same``, ``cross``, ``rank 1``, ``same/rank 1``, ``cross/rank 1``,
        ``same/de``, ...) to method to measures, as JSON.
    """
    results: dict[str, dict[str, Any]] = {}
    for group, mask in groups_of(hits, languages=languages).items():
        selected = hits.where(mask)
        if len(selected) < MIN_HITS:
            continue
        results[group] = {
            name: measure(method(selected), selected.relevant, selected.cluster).to_json()
            for name, method in methods.items()
        }
    return results


def growth(
    tables: Mapping[int, HitTable], methods: Mapping[str, HitsToProbability]
) -> dict[str, dict[str, Any]]:
    """Return what a growing corpus does to probabilities.

    Args:
        tables: What ``serve_growing`` returned.
        methods: Name to method.

    Returns:
        Number of passages to method to ``same``, ``cross`` and ``rank 1``, each with what
        ``measure`` measures but the diagram; and ``languages``: relation and query language to
        expected / observed.
    """
    found: dict[str, dict[str, Any]] = {}
    for size, hits in tables.items():
        groups = measure_groups(hits, methods, languages=True)
        found[str(size)] = {
            name: {
                "languages": {
                    group: measured[name]["expected_observed"]["value"]
                    for group, measured in groups.items()
                    if "/" in group and not group.endswith("/rank 1")
                },
                **{
                    group: {k: v for k, v in groups[group][name].items() if k != "diagram"}
                    for group in ("same", "cross", "rank 1")
                    if group in groups
                },
            }
            for name in methods
        }
    return found


def measure_pairs(hits: HitTable, stated: FloatArray) -> dict[str, dict[str, Any]]:
    """Return language pair (``de>en``) to measures; pairs with few hits are left out.

    Args:
        hits: Judged hits.
        stated: Their probabilities, shape (len(hits),).
    """
    found: dict[str, dict[str, Any]] = {}
    pairs = np.char.add(np.char.add(hits.query_language, ">"), hits.passage_language)
    for pair in np.unique(pairs).tolist():
        mask = pairs == pair
        if mask.sum() < MIN_HITS:
            continue
        measured = measure(stated[mask], hits.relevant[mask], hits.cluster[mask])
        found[pair] = {k: v for k, v in measured.to_json().items() if k != "diagram"}
    return found


def measure_first_hit(hits: HitTable, calibrator: Calibrator) -> dict[str, Any]:
    """Measure the answerable probability of the first hits."""
    first = hits.where(hits.rank == 1)
    probability = calibrator.first_hit_probability(first.first_hit_columns())
    return measure(probability, first.relevant, first.cluster).to_json()


def groups_of(hits: HitTable, *, languages: bool = False) -> dict[str, BoolArray]:
    """Return the groups that hits are measured in: name to which hits are in it."""
    relations = {"same": hits.same, "cross": ~hits.same}
    first = hits.rank == 1
    groups: dict[str, BoolArray] = {"all": np.ones(len(hits), dtype=np.bool_), **relations}
    groups |= {"rank 1": first}
    groups |= {f"{name}/rank 1": mask & first for name, mask in relations.items()}
    if languages:
        for code in np.unique(hits.query_language):
            asked = hits.query_language == code
            groups |= {f"{name}/{code}": mask & asked for name, mask in relations.items()}
    return groups
