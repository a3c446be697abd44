"""How the score enters the heads of a calibrator: through a monotone line in pieces.

A logit that is linear in the cosine says that a step of it counts as much between poor hits as
between good ones. With pieces it may count more here and less there, and it always counts upwards::

    read(s) = s            at the first knot
    read'(s) = slopes[0]   below it, slopes[1] up to the second knot, ..., slopes[-1] above the last

Every head reads ``score`` so, and so does the slope of a language's offset; leads, lags and the
background are made of scores as they are. With slopes of 1, as without pieces, a score is read as
it is.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Self, TypeAlias

import numpy as np
from pydantic import Field, FiniteFloat, model_validator

from app.core.calibration.parts import Part
from app.core.types import FloatArray

_STEEPEST = 1000.0
_END = 2.0
"""The outer pieces end here, on either side: no cosine, rounded or not, is beyond."""


Reader: TypeAlias = Callable[[FloatArray], FloatArray]


class ScorePieces(Part):
    """A monotone line in pieces.

    Attributes:
        knots: Scores at which its slope changes, ascending; at least one.
        slopes: One a piece, above 0, because a probability rises with the score: before the first
            knot, between knots, behind the last.
    """

    knots: tuple[FiniteFloat, ...] = Field(min_length=1)
    slopes: tuple[Annotated[FiniteFloat, Field(gt=0.0, le=_STEEPEST)], ...]

    @model_validator(mode="after")
    def _is_a_rising_line(self) -> Self:
        ends = (-_END, *self.knots, _END)
        if any(low >= high for low, high in pairwise(ends)):
            raise ValueError(f"knots must ascend, between -{_END:g} and {_END:g}")
        if len(self.slopes) != len(self.knots) + 1:
            raise ValueError("slopes must be one more than knots")
        if (np.diff(self._corners()[1]) <= 0.0).any():
            raise ValueError("a probability must rise with the score: a slope vanishes")
        return self

    def read(self, scores: FloatArray) -> FloatArray:
        """Return scores as the heads read them, float64 of the same shape."""
        return self.reader()(scores)

    def reader(self) -> Reader:
        """Return ``read``, made ready for many calls."""
        given, taken = self._corners()

        def read(scores: FloatArray) -> FloatArray:
            result: FloatArray = np.interp(scores, given, taken)
            return result

        return read

    def unread(self, values: FloatArray) -> FloatArray:
        """Return the scores that are read as some values, float64 of the same shape."""
        given, taken = self._corners()
        result: FloatArray = np.interp(values, taken, given)
        return result

    def _corners(self) -> tuple[FloatArray, FloatArray]:
        """Return the corners of the line: scores, and what they are read as."""
        given = np.array([-_END, *self.knots, _END])
        risen = np.concatenate([[0.0], np.cumsum(np.array(self.slopes) * np.diff(given))])
        return given, risen - risen[1] + given[1]
