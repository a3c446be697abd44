"""Judged hits of served lists: what a calibrator of one's own is fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from app.core.calibration.assess import Sample
from app.core.types import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class JudgedHits:
    """Judged hits of served lists, one entry a hit.

    Attributes:
        columns: Name to values, for every feature of every head, as the calibrator to begin with
            reads them.
        scores: Cosines.
        sample: Labels, weights and queries.
        known: Whether the languages of query and passage are known.
        first: Whether the hit is the first of its list.
        same: Whether they are one language.
        stated: What the calibrator to begin with states of the hit.
        languages: Primary subtags of queries and passages.
        corpus_sizes: Numbers of eligible passages.
    """

    columns: Mapping[str, FloatArray]
    scores: FloatArray
    sample: Sample
    known: BoolArray
    first: BoolArray
    same: BoolArray
    stated: FloatArray
    languages: frozenset[str]
    corpus_sizes: frozenset[int]

    @property
    def queries(self) -> int:
        """Number of distinct queries."""
        return len(np.unique(self.sample.query))
