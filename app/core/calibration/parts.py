"""The parts of a calibrator document that are parameters: heads, language offsets, thresholds.

``app/core/calibration/document.py`` puts them together, ``calibrator.py`` evaluates them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from app.core.types import FloatArray

_ROUNDING = 1e-9
"""How far below 0 an eigenvalue of a covariance may lie, relative to the largest one."""


class Part(BaseModel):
    """Strict and immutable; infinity and NaN are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LinearHead(Part):
    """A linear logit over named features.

    Attributes:
        features: Names, distinct.
        coef: One weight a feature.
        intercept: Constant.
        covariance: How well the parameters are known, for intervals: their covariance in the
            order of ``coef`` with the intercept last, as the rows of its lower triangle.
    """

    features: tuple[str, ...]
    coef: tuple[FiniteFloat, ...]
    intercept: FiniteFloat
    covariance: tuple[tuple[FiniteFloat, ...], ...] | None = None

    @model_validator(mode="after")
    def _one_coefficient_a_feature(self) -> Self:
        if len(self.features) != len(self.coef) or len(set(self.features)) != len(self.features):
            raise ValueError("features must be distinct and have one coefficient each")
        return self

    @model_validator(mode="after")
    def _covariance_is_one(self) -> Self:
        if self.covariance is None:
            return self
        if [len(row) for row in self.covariance] != list(range(1, len(self.coef) + 2)):
            raise ValueError(
                "covariance must be a lower triangle: one row a feature and one for the "
                "intercept, the first of one number, each of one more"
            )
        eigenvalues = np.linalg.eigvalsh(self.covariance_matrix())
        if eigenvalues[0] < -_ROUNDING * max(float(eigenvalues[-1]), 0.0):
            raise ValueError("covariance must not have a negative eigenvalue")
        return self

    def weight(self, feature: str) -> float:
        """Return the coefficient of a feature, 0 where the head does not use it."""
        return dict(zip(self.features, self.coef, strict=True)).get(feature, 0.0)

    def logit(self, columns: Mapping[str, FloatArray]) -> FloatArray:
        """Return the logits, float64 of the columns' shape.

        Args:
            columns: At least this head's features, all of one shape.
        """
        terms = [c * columns[f] for f, c in zip(self.features, self.coef, strict=True)]
        total: FloatArray = np.sum(terms, axis=0) + self.intercept
        return total

    def standard_errors(self) -> list[float]:
        """Return those of ``coef`` and the intercept, zeros where there is no covariance."""
        found: list[float] = np.sqrt(np.maximum(np.diag(self.covariance_matrix()), 0.0)).tolist()
        return found

    def covariance_matrix(self) -> FloatArray:
        """Return the covariance of ``coef`` and intercept, zeros where there is none.

        Returns:
            float64 of shape (f + 1, f + 1), symmetric.
        """
        size = len(self.coef) + 1
        lower = np.zeros((size, size))
        for number, row in enumerate(self.covariance or ()):
            lower[number, : number + 1] = row
        full: FloatArray = lower + np.tril(lower, -1).T
        return full


class LanguageOffset(Part):
    """What one language adds to the logit of a hit: ``intercept + slope * score``.

    Attributes:
        intercept: Logits.
        slope: Logits per unit of the score.
        sd: Standard error of what it adds, in logits; for intervals.
    """

    intercept: FiniteFloat = 0.0
    slope: FiniteFloat = 0.0
    sd: FiniteFloat = Field(default=0.0, ge=0.0)


class LanguageOffsets(Part):
    """Additive offsets by query language and by passage language.

    A language that is not listed adds nothing to the logit. How far languages lie apart is then
    all that is known of it: ``unlisted_query_sd`` and ``unlisted_passage_sd`` widen its intervals.

    Attributes:
        query: Primary subtag of the query's language to offset.
        passage: Primary subtag of the passage's language to offset.
        unlisted_query_sd: Standard deviation of the offsets of query languages, in logits.
        unlisted_passage_sd: The same of passage languages.
    """

    query: dict[str, LanguageOffset] = Field(default_factory=dict)
    passage: dict[str, LanguageOffset] = Field(default_factory=dict)
    unlisted_query_sd: FiniteFloat = Field(default=0.0, ge=0.0)
    unlisted_passage_sd: FiniteFloat = Field(default=0.0, ge=0.0)

    def of_query(self, language: str) -> LanguageOffset:
        """Return what a query language adds."""
        return self.query.get(language, self._unlisted[0])

    def of_passage(self, language: str) -> LanguageOffset:
        """Return what a passage language adds."""
        return self.passage.get(language, self._unlisted[1])

    @cached_property
    def _unlisted(self) -> tuple[LanguageOffset, LanguageOffset]:
        return (
            LanguageOffset(sd=self.unlisted_query_sd),
            LanguageOffset(sd=self.unlisted_passage_sd),
        )

    def are_none(self) -> bool:
        """Return whether no language adds anything, listed or not."""
        none = LanguageOffset()
        listed = (*self.query.values(), *self.passage.values(), *self._unlisted)
        return all(offset == none for offset in listed)

    def lowest_slopes(self) -> tuple[float, float]:
        """Return the lowest sum of slopes for one language on both sides, and for two."""
        none = LanguageOffset()
        same = [
            self.query.get(language, none).slope + self.passage.get(language, none).slope
            for language in self.query.keys() | self.passage.keys()
        ]
        query = min([0.0, *(offset.slope for offset in self.query.values())])
        passage = min([0.0, *(offset.slope for offset in self.passage.values())])
        return min([0.0, *same]), query + passage


class IntervalFacts(Part):
    """What ``probability_interval`` is: the heads' covariances, read at one level.

    The logit of a hit is known with the variance ``x' C x + sd_query^2 + sd_passage^2``; the
    interval is the normal one on the logit scale, squashed like the logit.

    Attributes:
        level: How often it should contain the probability that unlimited labels would give.
        method: Where the covariances come from.
        clusters: What was drawn together, such as ``document``.
        draws: How many times, where they were drawn.
    """

    level: FiniteFloat = Field(gt=0.0, lt=1.0)
    method: Literal["cluster-bootstrap", "cluster-sandwich", "laplace"]
    clusters: str
    draws: int | None = Field(default=None, ge=1)


class Threshold(Part):
    """A threshold that bounds a risk on queries exchangeable with those it was chosen on.

    Attributes:
        kind: ``crc``, conformal risk control, bounds the expected risk; ``ltt``, Learn-then-Test,
            bounds the risk with a confidence.
        value: Probability from which on is answered, or a hit shown.
        target: The bound of the risk.
        confidence: Of the bound, for ``ltt``.
        n: Queries that it was chosen on.
        scope: Which queries and corpora those were.
        guarantee: The promise in one sentence, as a person should read it.
    """

    kind: Literal["crc", "ltt"]
    value: FiniteFloat = Field(ge=0.0, le=1.0)
    target: FiniteFloat = Field(gt=0.0, lt=1.0)
    confidence: FiniteFloat | None = Field(default=None, gt=0.0, lt=1.0)
    n: int = Field(ge=1)
    scope: str = Field(min_length=1)
    guarantee: str = Field(min_length=1)

    @model_validator(mode="after")
    def _confidence_belongs_to_ltt(self) -> Self:
        if (self.kind == "ltt") != (self.confidence is not None):
            raise ValueError("kind 'ltt' states a confidence, kind 'crc' none")
        return self


class Thresholds(Part):
    """Thresholds with a guarantee; ``None`` where none reaches its target.

    Attributes:
        answer: On the answerable probability. Risk: the share of answered queries whose first
            hit is not relevant.
        hits: On the probability of a hit. Risk: the share of a query's relevant hits, among
            those served, that is left out.
    """

    answer: Threshold | None = None
    hits: Threshold | None = None
