"""The calibrator as a JSON document: its schema, its laws and its id.

``app/core/calibration/calibrator.py`` says what the parts mean and evaluates them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    ValidationError,
    model_validator,
)

from app.core.errors import CalibrationError, UnsupportedSchemaError
from app.core.types import FloatArray

CALIBRATOR_SCHEMA = 1

HIT_FEATURES = (
    "score",
    "background",
    "log_corpus",
    "log_language_corpus",
    "log_language_rank",
    "language_lead",
    "language_lag",
    "same",
    "same*score",
    "same*background",
    "same*log_corpus",
    "same*log_language_rank",
)
"""What a hit's logit may be linear in."""

POOLED_FEATURES = ("score", "background", "log_corpus")
"""The hit features that need no languages."""

FIRST_HIT_FEATURES = (
    "score",
    "gap",
    "language_lead",
    "background",
    "log_corpus",
    "log_language_corpus",
    "same",
)
"""What the logit of "the first hit is relevant" may be linear in."""

Range = Annotated[tuple[FiniteFloat, FiniteFloat], Field(description="lowest and highest value")]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LinearHead(_Document):
    """A linear logit over named features."""

    features: tuple[str, ...]
    coef: tuple[FiniteFloat, ...]
    intercept: FiniteFloat

    @model_validator(mode="after")
    def _one_coefficient_a_feature(self) -> Self:
        if len(self.features) != len(self.coef) or len(set(self.features)) != len(self.features):
            raise ValueError("features must be distinct and have one coefficient each")
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


class EncoderBinding(_Document):
    """The encoder whose scores the calibrator was fitted on."""

    name: str
    fingerprint: str
    dtype: str


class RankRange(_Document):
    """Ranks whose mean score is the background; 1-based, both included."""

    from_rank: int = Field(ge=2)
    to_rank: int

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.to_rank < self.from_rank:
            raise ValueError("to_rank must not be smaller than from_rank")
        return self


class TrainedRange(_Document):
    """What the fit has seen; probabilities outside are marked as extrapolated."""

    score: Range
    corpus: Range

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if any(low > high for low, high in (self.score, self.corpus)):
            raise ValueError("a range must name its lowest value first")
        return self


class FitFacts(_Document):
    """What the parameters were fitted on.

    ``nll`` holds the mean negative log-likelihood of the fitting hits before (the base rate
    for every hit) and after the fit.
    """

    hits: int = Field(ge=1)
    queries: int = Field(ge=1)
    relevant: int = Field(ge=1)
    languages: tuple[str, ...]
    corpus_sizes: tuple[int, ...]
    data_sha256: str
    nll: tuple[FiniteFloat, FiniteFloat]


class CalibratorDocument(_Document):
    """The JSON form of a calibrator; see the module docstring for the meaning of the heads."""

    schema_version: Literal[1] = Field(alias="schema")
    id: str
    kind: Literal["logit-linear"]
    encoder: EncoderBinding
    score: Literal["cosine"]
    depth: int = Field(ge=1, description="Length of the served lists that were judged.")
    background: RankRange
    hit: LinearHead
    pooled: LinearHead
    first_hit: LinearHead
    clip: tuple[FiniteFloat, FiniteFloat]
    trained_range: TrainedRange
    fit: FitFacts
    metrics: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _obeys_the_laws(self) -> Self:
        low, high = self.clip
        if not 0.0 <= low < high <= 1.0:
            raise ValueError("clip must be two probabilities, the lower one first")
        for head, known in (
            (self.hit, HIT_FEATURES),
            (self.pooled, POOLED_FEATURES),
            (self.first_hit, FIRST_HIT_FEATURES),
        ):
            if unknown := set(head.features) - set(known):
                raise ValueError(f"unknown features: {', '.join(sorted(unknown))}")
        cross_slope = self.hit.weight("score")
        same_slope = cross_slope + self.hit.weight("same*score")
        if min(cross_slope, same_slope, self.pooled.weight("score")) <= 0.0:
            raise ValueError("a probability must rise with the score: its weight must be positive")
        cross_rank = self.hit.weight("log_language_rank")
        if max(cross_rank, cross_rank + self.hit.weight("same*log_language_rank")) > 0.0:
            raise ValueError("a probability must not rise down the list: a rank weighs at most 0")
        if self.hit.weight("language_lead") < 0.0 or self.hit.weight("language_lag") > 0.0:
            raise ValueError("a lead must not lower a probability, and a lag must not raise it")
        return self


def document_id(document: Mapping[str, Any]) -> str:
    """Return the id of a document: 12 hex digits over its canonical JSON, the id left out."""
    content = {key: value for key, value in document.items() if key != "id"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def parse_calibrator(raw: object) -> CalibratorDocument:
    """Check parsed JSON and return it as a calibrator document.

    Raises:
        UnsupportedSchemaError: It was written by another version of the format.
        CalibrationError: It is malformed, was changed after it was written (its id does not
            match), or its probability would not rise with the score.
    """
    if not isinstance(raw, dict):
        raise CalibrationError("A calibrator must be a JSON object.")
    if raw.get("schema") != CALIBRATOR_SCHEMA:
        raise UnsupportedSchemaError(
            f"Calibrator schema {raw.get('schema')!r} is not supported; this version reads "
            f"schema {CALIBRATOR_SCHEMA}. Fit it again with `isoglot-train calibrate`."
        )
    try:
        document = CalibratorDocument.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(
            f"{'/'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors()
        )
        raise CalibrationError(f"The calibrator is not usable: {problems}") from error
    if document_id(raw) != document.id:
        raise CalibrationError(
            f"The calibrator says its id is {document.id}, but its content has id "
            f"{document_id(raw)}: it was changed after it was written."
        )
    return document


def read_calibrator(path: Path) -> CalibratorDocument:
    """Read a calibrator from a JSON file; raises as ``parse_calibrator``."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CalibrationError(f"{path} could not be read as JSON: {error}") from error
    return parse_calibrator(raw)


def dump_calibrator(content: Mapping[str, Any]) -> str:
    """Return the JSON text of a calibrator, with its id filled in.

    Args:
        content: A document without id (an ``id`` that is there is replaced).

    Raises:
        CalibrationError: It would not load again.
    """
    document = {**content, "id": document_id(content)}
    text = json.dumps(document, indent=1, ensure_ascii=False)
    parse_calibrator(json.loads(text))
    return text + "\n"
