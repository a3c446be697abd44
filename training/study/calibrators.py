"""The calibrators that a study compares; see the table in ``docs/study/hypotheses.md``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from app.core.calibration.calibrator import sigmoid
from app.core.calibration.fit import Penalty, fit_logistic
from app.core.errors import CalibrationError
from app.core.types import BoolArray, FloatArray
from training.retrieval_set import RowArray

RAW, GLOBAL, ENGLISH, SAME, ADDITIVE, OWN = "none", "global", "en-en", "same", "additive", "own"
METHODS = (RAW, GLOBAL, ENGLISH, SAME, ADDITIVE, OWN)
RIDGE = 1.0
MIN_OWN = 10
"""A pair needs so many relevant and as many irrelevant hits for a calibrator of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Judged hits of served lists, one entry a hit; all arrays are (n,).

    Attributes:
        score: Cosine, float64.
        raw: The encoder's own probability; NaN where nobody computed it.
        query_language: Number of the query's language.
        passage_language: Number of the passage's language.
        relevant: Whether the passage answers.
        rank: 1-based.
        cluster: Number of the parallel question.
        part: Half of the articles, or the source.
    """

    score: FloatArray
    raw: FloatArray
    query_language: RowArray
    passage_language: RowArray
    relevant: BoolArray
    rank: RowArray
    cluster: RowArray
    part: RowArray

    def __len__(self) -> int:
        return len(self.score)

    @property
    def same(self) -> BoolArray:
        """Whether query and passage are in one language."""
        return np.equal(self.query_language, self.passage_language)

    def pair(self, languages: int) -> RowArray:
        """Return the number of every hit's language pair."""
        return self.query_language * languages + self.passage_language

    def where(self, mask: BoolArray) -> Hits:
        """Return the hits that a mask selects."""
        return Hits(*(getattr(self, name)[mask] for name in self.__slots__))


Probability = Callable[[Hits], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Calibrators that were fitted on the same hits.

    Attributes:
        methods: Name to a function from hits to probabilities; NaN where a pair has no
            calibrator of its own.
        parameters: Name to fitted parameters, ready for JSON.
    """

    methods: Mapping[str, Probability]
    parameters: Mapping[str, object]


def fit_calibrators(
    hits: Hits, weights: FloatArray | None, *, languages: int, english: int
) -> Fitted:
    """Fit every calibrator of a study.

    Args:
        hits: What they are fitted on.
        weights: Weight of every hit; all the same where it is ``None``.
        languages: Number of languages.
        english: Number of the language whose labels zero-shot calibration has.

    Raises:
        CalibrationError: A fit is impossible, for example because no English hit is relevant.
    """
    english_only = (hits.query_language == english) & (hits.passage_language == english)
    designs: dict[str, tuple[Callable[[Hits], FloatArray], BoolArray]] = {
        GLOBAL: (_score, np.ones(len(hits), np.bool_)),
        ENGLISH: (_score, english_only),
        SAME: (_with_same, np.ones(len(hits), np.bool_)),
        ADDITIVE: (lambda h: _with_languages(h, languages), np.ones(len(hits), np.bool_)),
    }
    methods: dict[str, Probability] = {RAW: lambda h: h.raw}
    parameters: dict[str, object] = {}
    for name, (design, mask) in designs.items():
        chosen = hits.where(mask)
        fit = fit_logistic(
            design(chosen),
            chosen.relevant.astype(np.float64),
            penalty=Penalty(RIDGE),
            weights=None if weights is None else weights[mask],
        )
        methods[name] = _linear(design, fit.coef, fit.intercept)
        parameters[name] = {"coef": fit.coef.tolist(), "intercept": fit.intercept}
    table = _own_table(hits, languages)
    methods[OWN] = _by_pair(table, languages)
    parameters[OWN] = int(np.isfinite(table[:, 0]).sum())
    return Fitted(methods, parameters)


def _linear(
    design: Callable[[Hits], FloatArray], coef: FloatArray, intercept: float
) -> Probability:
    return lambda hits: sigmoid(design(hits) @ coef + intercept)


def _by_pair(table: FloatArray, languages: int) -> Probability:
    def probability(hits: Hits) -> FloatArray:
        slope, intercept = table[hits.pair(languages)].T
        return sigmoid(slope * hits.score + intercept)

    return probability


def _own_table(hits: Hits, languages: int) -> FloatArray:
    """Return slope and intercept of every pair, NaN for pairs with too few hits."""
    table = np.full((languages**2, 2), np.nan)
    pairs = hits.pair(languages)
    order = np.argsort(pairs, kind="stable")
    found, starts = np.unique(pairs[order], return_index=True)
    for pair, rows in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
        labels = hits.relevant[rows].astype(np.float64)
        if min(labels.sum(), (1.0 - labels).sum()) < MIN_OWN:
            continue
        try:
            fit = fit_logistic(hits.score[rows, None], labels, penalty=Penalty(RIDGE))
        except CalibrationError:
            continue
        table[pair] = fit.coef[0], fit.intercept
    return table


def _score(hits: Hits) -> FloatArray:
    return hits.score[:, None]


def _with_same(hits: Hits) -> FloatArray:
    same = hits.same.astype(np.float64)
    return np.column_stack([hits.score, same, same * hits.score])


def _with_languages(hits: Hits, languages: int) -> FloatArray:
    """Return score, same, same * score, and 0-1 and score columns for each language and side."""
    columns = np.zeros((len(hits), 3 + 4 * languages))
    columns[:, :3] = _with_same(hits)
    rows = np.arange(len(hits))
    for side, language in enumerate((hits.query_language, hits.passage_language)):
        start = 3 + 2 * side * languages
        columns[rows, start + language] = 1.0
        columns[rows, start + languages + language] = hits.score
    return columns
