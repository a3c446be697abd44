"""The part of a calibrator document that was measured: what a person looks at before trusting it.

Nothing here changes a probability.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, FiniteFloat, model_validator

from app.core.calibration.parts import Part

_DIGITS = 4
"""Significant digits of written figures; their intervals are far wider."""


class Estimate(Part):
    """A figure with its 95 % interval, where one was computed."""

    value: FiniteFloat
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None


class ReliabilityBin(Part):
    """Hits of similar stated probability.

    Attributes:
        hits: How many there are.
        stated: Their mean stated probability.
        found: Share of them that is relevant, with its interval.
    """

    hits: int = Field(ge=1)
    stated: FiniteFloat = Field(ge=0.0, le=1.0)
    found: Estimate


class PairEvidence(Part):
    """How the hits of one language pair came out."""

    query: str
    passage: str
    hits: int = Field(ge=1)
    relevant: int = Field(ge=0)
    expected_observed: Estimate | None = None
    ece: Estimate | None = None


class GrowthPoint(Part):
    """How the hits of one relation came out at one corpus size.

    Attributes:
        calibrator: Which one: ``logit-linear`` for this, or a reference such as ``platt``.
        relation: ``same``, ``cross`` or ``all``.
        corpus: Eligible passages.
        expected_observed: Expected relevant hits divided by relevant hits.
        ece: Expected calibration error.
    """

    calibrator: str
    relation: str
    corpus: int = Field(ge=1)
    expected_observed: Estimate
    ece: Estimate | None = None


class Comparison(Part):
    """One calibrator on the held-out hits that this one was measured on.

    Attributes:
        name: Such as ``this``, ``shipped`` or ``isotonic``.
        nll: Mean negative log-likelihood.
        brier: Mean squared error of the probability.
        ece: Expected calibration error.
        expected_observed: Expected relevant hits divided by relevant hits.
    """

    name: str
    nll: Estimate
    brier: Estimate | None = None
    ece: Estimate | None = None
    expected_observed: Estimate | None = None


class Evidence(Part):
    """Measured on queries that the fit has not seen.

    Attributes:
        data: Which queries those are, as a person should read it.
        reliability: ``all``, ``same``, ``cross``, ``rank 1`` or another slice to bins, by rising
            stated probability.
        before: The same hits under the calibrator that this one was fitted to replace.
        pairs: Language pairs with enough hits to tell.
        growth: Corpus sizes, for this calibrator and others.
        compared: This calibrator beside others.
    """

    data: str = Field(min_length=1)
    reliability: dict[str, tuple[ReliabilityBin, ...]] = Field(default_factory=dict)
    before: dict[str, tuple[ReliabilityBin, ...]] = Field(default_factory=dict)
    pairs: tuple[PairEvidence, ...] = ()
    growth: tuple[GrowthPoint, ...] = ()
    compared: tuple[Comparison, ...] = ()

    @model_validator(mode="after")
    def _bins_rise(self) -> Self:
        for bins in (*self.reliability.values(), *self.before.values()):
            stated = [b.stated for b in bins]
            if stated != sorted(stated):
                raise ValueError("bins must come by rising stated probability")
        return self

    def written(self) -> dict[str, Any]:
        """Return what a document holds of this: its figures are rounded, its counts are not."""
        figures: dict[str, Any] = _rounded(self.model_dump(mode="json", exclude_none=True))
        return figures


def _rounded(part: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(part, float):
        return float(f"{part:.{_DIGITS}g}")
    if isinstance(part, dict):
        return {name: _rounded(member) for name, member in part.items()}
    if isinstance(part, list):
        return [_rounded(member) for member in part]
    return part
